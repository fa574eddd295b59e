"""Only valid calls become jobs, and steps become replies."""

from __future__ import annotations

import math

import pytest

from services.common.catalog import Model
from services.common.errors import Code, MeshError
from services.runner.kinds.base import FinishReason, TokenCounts, Work
from services.runner.kinds.speech import SpeechJob, SpeechReader, SpeechStep
from tiermesh.runner.v1 import runner_pb2 as pb

MODEL = Model(id="model", kind="speech", tier="speech", price=3)
TASK = pb.SpeechTask(input="Hello", voice="alloy", format="wav", speed=1)


def read(task: pb.SpeechTask = TASK) -> Work[SpeechJob, SpeechStep]:
    call = pb.GenerateCall(id=7, request_id="r", model="model", speech=task)
    return SpeechReader(("alloy", "en-us"), ("wav", "pcm")).read(call, MODEL)


def changed(**fields: object) -> pb.SpeechTask:
    task = pb.SpeechTask()
    task.CopyFrom(TASK)
    for name, value in fields.items():
        setattr(task, name, value)
    return task


def refusal(**fields: object) -> MeshError:
    with pytest.raises(MeshError) as caught:
        read(changed(**fields))
    assert caught.value.code is Code.INVALID_REQUEST
    return caught.value


def test_a_call_becomes_a_job() -> None:
    assert read(changed(voice=" EN-us ")).job == SpeechJob("r", "Hello", "en-us", "wav", 1.0)


def test_an_unknown_voice_lists_those_that_there_are() -> None:
    error = refusal(voice="Charon")
    assert error.param == "voice"
    assert "alloy, en-us" in error.message
    assert "Charon" not in error.message


def test_a_format_that_is_not_installed_says_what_to_install() -> None:
    error = refusal(format="mp3")
    assert error.param == "response_format"
    assert "wav, pcm" in error.message
    assert "'.[speech]'" in error.message


@pytest.mark.parametrize("speed", [0, 0.2, 4.1, math.nan, math.inf])
def test_speed_is_bounded(speed: float) -> None:
    assert refusal(speed=speed).param == "speed"


@pytest.mark.parametrize("text", ["", " \n", "a" * 4097])
def test_texts_are_bounded(text: str) -> None:
    assert refusal(input=text).param == "input"


def test_another_task_is_refused() -> None:
    with pytest.raises(MeshError, match="only reads texts aloud"):
        SpeechReader((), ()).read(pb.GenerateCall(image=pb.ImageTask(prompt="a")), MODEL)


def test_steps_become_replies() -> None:
    work = read()
    # An encoder may hold the first samples back: nothing was made yet that could be charged.
    assert work.write(SpeechStep(b"")) is None
    assert work.write(SpeechStep(b"ab")) == pb.GenerateReply(id=7, audio=b"ab")
    last = work.write(SpeechStep(b"", FinishReason.STOP, TokenCounts(2, 40)))
    assert last is not None
    assert (last.finish_reason, last.usage.completion_tokens) == (pb.FINISH_REASON_STOP, 40)
    failed = work.write(MeshError(Code.INTERNAL, "no"))
    assert failed is not None
    assert failed.HasField("error")
