"""Transcripts as servers give them, and what is no answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from services.common.errors import Code, MeshError
from services.runner.audio.decoding import decode
from services.runner.engines.upstream.kinds.base import Upstream
from services.runner.engines.upstream.kinds.languages import WHISPER as LANGUAGES
from services.runner.engines.upstream.kinds.transcription import PATH, TranscriptionServerEngine
from services.runner.kinds.transcription import TranscriptionJob
from tests.support.job_recording import RecordedJob
from tests.support.recorded_server import Answer, RecordedServer, refusal
from tests.unit.runner.engines.upstream.kinds.servers import SERVERS, WHISPER
from tests.unit.runner.engines.upstream.kinds.test_speech import SECONDS, sound

SEGMENT = {"id": 0, "seek": 0, "start": 0.0, "end": 1.0, "text": " Hello there.", "tokens": [50364, 2425, 456, 13]}
SURE = {"temperature": 0.0, "avg_logprob": -0.25, "compression_ratio": 0.5, "no_speech_prob": 0.125}
WORDS = [{"start": 0.0, "end": 0.5, "word": " Hello"}, {"start": 0.5, "end": 1.0, "word": " there."}]
VERBOSE = {"task": "transcribe", "language": "english", "duration": 2.0, "text": "Hello there.", "words": None}
MODELS = {"speaches": WHISPER, "Ollama": "gemma:4b"}


@asynccontextmanager
async def running(
    server: str = "another", answer: Answer = None, **options: Any
) -> AsyncIterator[tuple[RecordedServer, TranscriptionServerEngine]]:
    answer = answer if answer is not None else {**VERBOSE, "segments": [{**SEGMENT, **SURE}]}
    async with RecordedServer(SERVERS[server] | {PATH: answer}) as recorded:
        upstream = Upstream(url=recorded.url, key="sk-secret", model=MODELS.get(server, ""))
        engine = TranscriptionServerEngine(upstream, slots=4, **options)
        await engine.start()
        yield recorded, engine
        await engine.close()


def job(**fields: Any) -> TranscriptionJob:
    return TranscriptionJob(**{"request_id": "request", "audio": sound("mp3"), **fields})


async def test_phrases_have_what_the_server_knows_of_them() -> None:
    async with running() as (recorded, engine):
        phrase, last = await RecordedJob(engine, job(language="en", prompt="Names: Ada", temperature=0.25)).end()
    segment = phrase.segment
    assert (segment.text, segment.start, segment.end) == ("Hello there.", 0.0, 1.0)
    assert (segment.token_ids, segment.mean_logprob) == ((50364, 2425, 456, 13), -0.25)
    assert (segment.compression_ratio, segment.no_speech_probability) == (0.5, 0.125)
    assert (last.language, last.usage.completion_tokens) == ("en", 4)
    assert last.duration == pytest.approx(SECONDS, abs=0.1)
    assert last.usage.prompt_tokens == round(last.duration * 50)
    (form,) = recorded.requests
    file = form.pop("file")
    assert form == {
        "model": "model",
        "response_format": "verbose_json",
        "language": "en",
        "prompt": "Names: Ada",
        "temperature": "0.25",
        "timestamp_granularities[]": ["segment"],
    }
    # Whatever was uploaded, the server gets samples.
    assert file.startswith(b"RIFF")
    assert decode(file, 10, lambda: False) == decode(sound("mp3"), 10, lambda: False)


@pytest.mark.parametrize(
    ("phrases", "texts"),
    [
        ([" Hello there.", " How are you?"], ["Hello there.", " How are you?"]),
        (["Hello there.", "How are you?"], ["Hello there.", " How are you?"]),
        (["Hello there.", "Who are you?"], ["Hello there. How are you?"]),
        (["Hello there."], ["Hello there. How are you?"]),
        ([], ["Hello there. How are you?"]),
    ],
)
async def test_phrases_make_up_the_whole_text(phrases: list[str], texts: list[str]) -> None:
    """Some servers leave the spaces between them out; phrases that are not the text are none."""
    segments = [{"start": place, "end": place + 1, "text": text} for place, text in enumerate(phrases)]
    answer = {"text": "Hello there. How are you?", "language": "en", "segments": segments, "duration": "2.0"}
    async with running("vLLM", answer) as (_, engine):
        *found, last = await RecordedJob(engine, job()).end()
    assert [step.segment.text for step in found] == texts
    assert found[-1].segment.end == pytest.approx(SECONDS, abs=0.1)
    assert last.usage.completion_tokens == 5


@pytest.mark.parametrize("place", ["whole", "segment"])
async def test_times_of_words(place: str) -> None:
    """They stand beside the phrases, or in older servers within them."""
    segment = {**SEGMENT, **SURE, **({"words": WORDS} if place == "segment" else {})}
    answer = {**VERBOSE, "segments": [segment], **({"words": WORDS} if place == "whole" else {})}
    async with running("speaches", answer) as (recorded, engine):
        phrase, _ = await RecordedJob(engine, job(words=True)).end()
    assert [(word.start, word.text) for word in phrase.segment.words] == [(0.0, " Hello"), (0.5, " there.")]
    assert recorded.requests[0]["timestamp_granularities[]"] == ["word", "segment"]


@pytest.mark.parametrize("server", ["vLLM", "SGLang", "Ollama"])
async def test_times_of_words_that_a_server_lacks_are_refused_before_the_work(server: str) -> None:
    async with running(server) as (recorded, engine):
        with pytest.raises(MeshError, match="'timestamp_granularities' is not served by this model") as refused:
            RecordedJob(engine, job(words=True))
        assert refused.value.code is Code.INVALID_REQUEST
        assert not recorded.requests


@pytest.mark.parametrize(
    ("server", "field", "value"), [("SGLang", "prompt", "Names: Ada"), ("Ollama", "temperature", 0.5)]
)
async def test_a_parameter_that_is_ignored_is_refused(server: str, field: str, value: object) -> None:
    async with running(server) as (_, engine):
        with pytest.raises(MeshError, match=f"'{field}' is not served by this model: its server ignores it"):
            RecordedJob(engine, job(**{field: value}))


async def test_times_of_words_that_did_not_come_are_a_failure() -> None:
    async with running() as (_, engine):
        with pytest.raises(MeshError, match="told no times of words") as failure:
            await RecordedJob(engine, job(words=True)).end()
    assert failure.value.code is Code.CANCELLED


async def test_a_text_alone_is_one_phrase() -> None:
    async with running("Ollama", {"text": "Hello there."}) as (recorded, engine):
        phrase, last = await RecordedJob(engine, job()).end()
    assert (phrase.segment.text, phrase.segment.start) == ("Hello there.", 0.0)
    assert (last.language, last.usage.completion_tokens) == ("", 2)
    assert recorded.requests[0]["response_format"] == "json"
    assert "timestamp_granularities[]" not in recorded.requests[0]


async def test_the_languages_of_a_model_are_those_that_are_told() -> None:
    async with running("speaches") as (_, engine):
        assert set(engine.languages) == {"en", "de"}
    async with running() as (_, engine):
        assert set(engine.languages) == set(LANGUAGES)


@pytest.mark.parametrize("text", ["", "  "])
async def test_a_recording_without_words_is_refused(text: str) -> None:
    async with running(answer={"text": text, "segments": []}) as (_, engine):
        with pytest.raises(MeshError, match="hears no words in 'file'") as refused:
            await RecordedJob(engine, job()).end()
    assert (refused.value.code, refused.value.param) == (Code.INVALID_REQUEST, "file")


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"text": None},
        {"error": "no model"},
        b"<html>",
        {"text": "Hello", "segments": [{"start": "zero"}]},
        refusal(500, {"detail": "http://10.0.0.1/ sk-secret"}),
    ],
    ids=repr,
)
async def test_what_is_no_transcript_is_a_failure(answer: Answer) -> None:
    async with running(answer=answer) as (_, engine):
        with pytest.raises(MeshError, match=r"^The model's server failed\. Try again\.$") as failure:
            await RecordedJob(engine, job()).end()
        assert failure.value.code is Code.UNAVAILABLE
        assert engine.active == 0


@pytest.mark.parametrize(
    ("audio", "words"),
    [
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "is not a recording that can be read"),
        (b"nothing", "is not a recording that can be read"),
        (sound("mp3"), "longer than 1 seconds"),
    ],
)
async def test_what_is_no_recording_never_reaches_the_server(audio: bytes, words: str) -> None:
    async with running(most_seconds=1.0) as (recorded, engine):
        with pytest.raises(MeshError, match=words) as refused:
            await RecordedJob(engine, job(audio=audio)).end()
        assert (refused.value.code, refused.value.param) == (Code.INVALID_REQUEST, "file")
        assert not recorded.requests
