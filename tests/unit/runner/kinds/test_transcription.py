"""Only valid calls become jobs, and phrases become deltas and a transcript."""

from __future__ import annotations

import math
from typing import Any

import pytest

from services.common.catalog import Model
from services.common.errors import Code, MeshError
from services.runner.kinds.base import FinishReason, TokenCounts, Work
from services.runner.kinds.transcription import Segment, TranscriptionJob, TranscriptionReader, TranscriptionStep, Word
from tiermesh.runner.v1 import runner_pb2 as pb

MODEL = Model(id="model", kind="transcription", tier="transcription", price=3)
LAST = TranscriptionStep(None, "en", 4.5, FinishReason.STOP, TokenCounts(225, 5))


def read(call: dict[str, Any] | None = None, **task: Any) -> Work[TranscriptionJob, TranscriptionStep]:
    fields = {"audio": b"sound", **task}
    generate = pb.GenerateCall(id=7, request_id="r", transcription=pb.TranscriptionTask(**fields), **(call or {}))
    return TranscriptionReader({"en"}).read(generate, MODEL)


def segment(text: str, *token_ids: int) -> TranscriptionStep:
    words = tuple(Word(0, 1, " " + word) for word in text.split())
    return TranscriptionStep(Segment(0, 2, text, token_ids, -0.25, 1.5, 0.125, 0, words))


def refusal(**task: Any) -> MeshError:
    with pytest.raises(MeshError) as caught:
        read(**task)
    assert caught.value.code is Code.INVALID_REQUEST
    return caught.value


def test_a_call_becomes_a_job() -> None:
    assert read().job == TranscriptionJob("r", b"sound")
    assert read(language=" EN ", temperature=0.5, words=True).job == TranscriptionJob(
        "r", b"sound", "en", temperature=0.5, words=True
    )


def test_what_cannot_be_written_down() -> None:
    assert refusal(audio=b"").param == "file"
    assert refusal(prompt="a" * 4097).param == "prompt"
    assert refusal(temperature=math.nan).param == "temperature"
    assert refusal(temperature=1.5).param == "temperature"
    assert "send one of: en" in refusal(language="de").message
    with pytest.raises(MeshError, match="only transcribes recordings"):
        TranscriptionReader({"en"}).read(pb.GenerateCall(image=pb.ImageTask(prompt="a")), MODEL)


def test_phrases_are_deltas_with_their_tokens() -> None:
    work = read()
    assert work.write(segment(" Good day.", 1, 2)) == pb.GenerateReply(id=7, text="Good day.", token_ids=[1, 2])
    assert work.write(segment(" How are you?", 3)) == pb.GenerateReply(id=7, text=" How are you?", token_ids=[3])
    last = work.write(LAST)
    assert last is not None
    assert last.text == ""
    assert last.transcript.text == "Good day. How are you?"
    assert (last.transcript.language, last.transcript.duration) == ("en", 4.5)
    assert [word.word for word in last.transcript.words] == ["Good", "day.", "How", "are", "you?"]
    assert list(last.transcript.segments[0].token_ids) == [1, 2]
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (225, 5)


def test_a_whole_answer_only_says_that_it_has_begun() -> None:
    work = read({"whole": True})
    assert work.write(segment(" Good day.", 1)) == pb.GenerateReply(id=7, started=True)
    assert work.write(segment(" Bye.", 2)) is None
    last = work.write(LAST)
    assert last is not None
    assert last.transcript.text == "Good day. Bye."


def test_what_another_runner_has_delivered_is_not_said_again() -> None:
    work = read({"resume_token_ids": [1, 2, 3]})
    assert work.write(segment(" Good day.", 1, 2)) is None
    assert work.write(segment(" Well.", 3)) is None
    assert work.write(segment(" Bye.", 4)) == pb.GenerateReply(id=7, text=" Bye.", token_ids=[4])
    last = work.write(LAST)
    assert last is not None
    assert last.transcript.text == "Good day. Well. Bye."


def test_silence_is_an_empty_transcript() -> None:
    last = read().write(LAST)
    assert last is not None
    assert last.transcript.text == ""
    assert last.finish_reason == pb.FINISH_REASON_STOP
