"""A step that cannot become a reply ends its own call, at once and with an error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from services.common.catalog import Model, load_catalog
from services.common.errors import Code, MeshError
from services.common.settings import DEFAULT_CATALOG
from services.runner.engines.base import Ticket
from services.runner.engines.simulated import SimulatedEngine
from services.runner.generation import Generation, RunnerStream
from services.runner.kinds.base import FinishReason, TokenCounts, Work
from services.runner.kinds.text.job import Job, Step
from services.runner.status import StatusBoard
from tiermesh.runner.v1.runner_pb2 import GenerateCall, GenerateReply

MODEL = load_catalog(Path(DEFAULT_CATALOG)).models[0]


class Engine:
    """Remembers what its jobs report to, and which of them were cancelled."""

    name, kind, slots, context, active, healthy = "engine", "chat", 2, 64, 0, True

    def __init__(self) -> None:
        self.emits: list[Callable[[Step | MeshError], None]] = []
        self.cancelled = 0
        self.progress = 0

    def submit(self, _job: Job, emit: Callable[[Step | MeshError], None]) -> Engine:
        self.emits.append(emit)
        return self

    def cancel(self) -> None:
        self.cancelled += 1


class Reader:
    """Reads every call as a job whose steps cannot be written if they hold the word `unwritable`."""

    def __init__(self) -> None:
        self.tickets: list[Ticket] = []

    def read(self, call: GenerateCall, _model: Model) -> Work[Job, Step]:
        call_id = call.id

        def write(step: Step | MeshError) -> GenerateReply:
            assert isinstance(step, Step)
            if step.text == "unwritable":
                raise ValueError(step.text)
            return GenerateReply(id=call_id, text=step.text)

        return Work(cast("Job", None), write, begin=self.tickets.append)


class BatchStream:
    """Keeps the replies."""

    def __init__(self) -> None:
        self.replies: list[GenerateReply] = []

    def reply(self, reply: GenerateReply) -> None:
        self.replies.append(reply)

    def reply_error(self, call_id: int, error: MeshError) -> None:
        self.replies.append(GenerateReply(id=call_id, error=error.to_proto()))


@pytest.mark.parametrize("last", [False, True])
async def test_a_step_that_cannot_be_written_ends_its_call(last: bool, capsys: pytest.CaptureFixture[str]) -> None:
    engine, stream = Engine(), BatchStream()
    status = StatusBoard("runner", cast("SimulatedEngine", engine))
    reader = Reader()
    generation = Generation(cast("SimulatedEngine", engine), reader, {MODEL.id: MODEL}, status)
    calls = [GenerateCall(id=number, request_id=f"req_{number}", model=MODEL.id) for number in (1, 2)]
    generation.on_calls(calls, cast("RunnerStream", stream))
    assert reader.tickets == [engine, engine]
    step = Step("unwritable")
    if last:
        step.finish_reason, step.usage = FinishReason.STOP, TokenCounts(1, 1)
    engine.emits[0](step)
    engine.emits[1](Step("fine"))
    failed, other = stream.replies
    assert (failed.id, Code(failed.error.code)) == (1, Code.INTERNAL)
    assert (other.id, other.text) == (2, "fine")
    # A job that has ended by itself needs no end.
    assert engine.cancelled == (0 if last else 1)
    out = capsys.readouterr().out
    assert "req_1" in out
    assert "unwritable" not in out
