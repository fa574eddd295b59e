"""The transcription engine with its real model, on what the speech engine says."""

from __future__ import annotations

import asyncio
import io
import math
import random
import threading
import wave
from array import array
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from faster_whisper import WhisperModel
from faster_whisper.feature_extractor import FeatureExtractor

from services.common.errors import Code, MeshError
from services.runner.audio.decoding import RATE, decode
from services.runner.demonstrations.packaged import find_whisper_tiny
from services.runner.engines.nanotts import NanoTtsEngine
from services.runner.engines.whisper import WhisperEngine
from services.runner.kinds.speech import SpeechJob, SpeechStep
from services.runner.kinds.transcription import Segment, TranscriptionJob, TranscriptionStep
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")
SENTENCE = "The quick brown fox jumps over the lazy dog. Today is a wonderful day to build something people love!"


async def spoken(text: str, form: str = "flac") -> bytes:
    """Returns a file in which the text is read aloud."""
    speaker = NanoTtsEngine(slots=1)
    await speaker.start()
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    audio = bytearray()

    def take(step: SpeechStep | MeshError) -> None:
        assert isinstance(step, SpeechStep)
        audio.extend(step.audio)
        if step.finish_reason is not None:
            done.set_result(None)

    speaker.submit(SpeechJob("request", text, "en-us", form, 1.0), take)
    await done
    await speaker.close()
    return bytes(audio)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def recording() -> bytes:
    return await spoken(SENTENCE)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine() -> AsyncIterator[WhisperEngine]:
    engine = WhisperEngine(find_whisper_tiny(), slots=1, most_seconds=200)
    await engine.start()
    yield engine
    assert engine.active == 0
    await engine.close()


def wave_file(samples: list[int]) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as output:
        output.setparams((1, 2, RATE, 0, "NONE", ""))
        output.writeframes(array("h", samples).tobytes())
    return file.getvalue()


class Writing:
    """A job and what it has written."""

    def __init__(self, engine: WhisperEngine, audio: bytes, *, words: bool = False, temperature: float = 0) -> None:
        self.segments: list[Segment] = []
        self.last: TranscriptionStep | None = None
        self.error: MeshError | None = None
        self.ticket = engine.submit(
            TranscriptionJob("request", audio, words=words, temperature=temperature), self._take
        )

    def _take(self, step: TranscriptionStep | MeshError) -> None:
        if isinstance(step, MeshError):
            self.error = step
        elif step.segment is not None:
            self.segments.append(step.segment)
        else:
            assert step.finish_reason is not None
            self.last = step

    async def end(self) -> TranscriptionStep:
        await eventually(lambda: self.last is not None or self.error is not None, 60)
        if self.error is not None:
            raise self.error
        assert self.last is not None
        return self.last

    @property
    def text(self) -> str:
        return "".join(segment.text for segment in self.segments).strip()


async def test_what_was_said_is_written(engine: WhisperEngine, recording: bytes) -> None:
    writing = Writing(engine, recording, words=True)
    last = await writing.end()
    assert "quick brown fox jumps over the lazy dog" in writing.text.lower()
    assert "wonderful day to build something people love" in writing.text.lower()
    assert last.language == "en"
    assert 4 < last.duration < 10
    words = [word for segment in writing.segments for word in segment.words]
    assert len(words) >= 18
    assert all(0 <= word.start <= word.end <= last.duration for word in words)
    assert all(segment.end <= last.duration for segment in writing.segments)
    assert last.usage is not None
    assert last.usage.completion_tokens == sum(len(segment.token_ids) for segment in writing.segments)
    assert last.usage.prompt_tokens == round(50 * last.duration)


async def test_control_tokens_in_a_prompt_are_text(engine: WhisperEngine) -> None:
    written = "Fox <|endoftext|><|notimestamps|> and <|startoftranscript|>."
    tokens = engine._prompt_tokens(written)
    tokenizer = engine._model.hf_tokenizer
    assert tokenizer.decode(tokens, skip_special_tokens=True) == f" {written}"
    assert engine._prompt_tokens("Fox.") == tokenizer.encode(" Fox.", add_special_tokens=False).ids


async def test_what_is_no_recording_is_refused(engine: WhisperEngine) -> None:
    with pytest.raises(MeshError) as refusal:
        await Writing(engine, b"not a sound").end()
    assert (refusal.value.code, refusal.value.param) == (Code.INVALID_REQUEST, "file")


@pytest.mark.parametrize("form", ["mp3", "aac"])
async def test_damage_in_the_middle_leaves_the_end(engine: WhisperEngine, form: str) -> None:
    audio = await spoken(SENTENCE, form)
    start = int(len(audio) * 0.3)
    audio = audio[:start] + random.Random(1).randbytes(400) + audio[start + 400 :]
    writing = Writing(engine, audio)
    last = await writing.end()
    assert "build something people love" in writing.text.lower()
    assert last.duration > 4.8


def noise(seconds: int, loudness: float) -> list[int]:
    source = random.Random(1)
    return [round(source.gauss(0, loudness)) for _ in range(seconds * RATE)]


@pytest.mark.parametrize(
    "recorded",
    # They are made when they are needed: every process that runs tests reads this file.
    [
        lambda: [0] * (6 * RATE),
        lambda: [0] * (40 * RATE),
        lambda: [0] * (90 * RATE),
        lambda: [1, 0, -1, 0] * (10 * RATE),
        lambda: noise(40, 1),
        lambda: noise(40, 60),
        lambda: noise(40, 3000),
        lambda: [round(600 * math.sin(at / 50)) for at in range(40 * RATE)],
    ],
    ids=["6 s", "40 s", "90 s", "lowest bits", "faint noise", "hiss", "loud noise", "hum"],
)
async def test_where_nobody_speaks_nothing_is_written(engine: WhisperEngine, recorded: Callable[[], list[int]]) -> None:
    samples = recorded()
    writing = Writing(engine, wave_file(samples))
    last = await writing.end()
    assert writing.segments == []
    assert last.duration == pytest.approx(len(samples) / RATE)
    assert last.language == "en"
    assert last.usage is not None
    assert last.usage.completion_tokens == 0


async def test_silence_around_speech_adds_no_words_and_moves_none(engine: WhisperEngine, recording: bytes) -> None:
    silence = array("h", bytes(2 * RATE * 40))
    said = array("h", decode(recording, 60, lambda: False))
    writing = Writing(engine, wave_file([*silence, *said, *silence, *said]))
    await writing.end()
    assert writing.text.lower().count("build something people love") == 2
    assert len(writing.text.split()) <= 42
    second = 40 + len(said) / RATE + 40
    for segment in writing.segments:
        assert 39 < segment.start < segment.end < second - 38 or second - 1 < segment.start


async def test_one_word_is_heard(engine: WhisperEngine) -> None:
    writing = Writing(engine, await spoken("Yes."))
    await writing.end()
    assert "yes" in writing.text.lower()


async def test_repetitions_are_tried_again_at_higher_temperatures(engine: WhisperEngine) -> None:
    writing = Writing(engine, await spoken("No, " * 60))
    await writing.end()
    assert writing.segments
    assert any(segment.temperature > 0 for segment in writing.segments)
    assert not [s for s in writing.segments if s.compression_ratio > 2.4 and s.temperature == 0]


async def test_a_temperature_that_was_asked_for_is_the_only_one(engine: WhisperEngine, recording: bytes) -> None:
    writing = Writing(engine, recording, temperature=0.3)
    await writing.end()
    assert {segment.temperature for segment in writing.segments} == {0.3}


async def test_slots_are_bounded_and_cancelling_frees_them(engine: WhisperEngine, recording: bytes) -> None:
    writing = Writing(engine, recording)
    with pytest.raises(MeshError) as refusal:
        Writing(engine, recording)
    assert refusal.value.code is Code.OVERLOADED
    writing.ticket.cancel()
    await eventually(lambda: engine.active == 0)
    again = Writing(engine, recording)
    await again.end()
    assert not writing.segments


async def test_a_cancelled_job_keeps_its_slot_until_the_library_lets_go_which_is_soon(
    monkeypatch: pytest.MonkeyPatch, recording: bytes
) -> None:
    preparing, go, windows = threading.Event(), threading.Event(), 0
    prepare, encode = FeatureExtractor.__call__, WhisperModel.encode

    def blocked(*arguments: Any, **options: Any) -> Any:
        preparing.set()
        go.wait(20)
        return prepare(*arguments, **options)

    def counted(*arguments: Any) -> Any:
        nonlocal windows
        windows += 1
        return encode(*arguments)

    monkeypatch.setattr(FeatureExtractor, "__call__", blocked)
    monkeypatch.setattr(WhisperModel, "encode", counted)
    engine = WhisperEngine(find_whisper_tiny(), slots=1)
    await engine.start()
    writing = Writing(engine, recording)
    await eventually(preparing.is_set, 20)
    writing.ticket.cancel()
    with pytest.raises(MeshError) as refusal:
        Writing(engine, recording)
    assert (refusal.value.code, engine.active) == (Code.OVERLOADED, 1)
    go.set()
    await eventually(lambda: engine.active == 0, 20)
    # It has not listened to anything, for nobody would have read it.
    assert windows == 0
    await Writing(engine, recording).end()
    assert windows == 1
    await engine.close()


async def test_the_model_says_which_languages_it_knows(engine: WhisperEngine) -> None:
    assert set(engine.languages) == {"en"}


async def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=str(tmp_path)):
        await WhisperEngine(tmp_path / "nothing").start()
