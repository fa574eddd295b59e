"""A count finds a runner that makes it, and leaves nothing behind at those that do not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, Self, cast

import pytest

from services.common.errors import Code, MeshError
from services.edge.authentication import Principal
from services.edge.context import RequestContext
from services.edge.paid.cut_off import CutOff
from services.edge.paid.path import Mesh, PaidPath
from services.edge.paid.routing import Assignment
from services.edge.token_counts.counter import TokenCounter
from tests.support.waiting import eventually
from tests.unit.edge.backend import MODEL
from tiermesh.router.v1 import router_pb2
from tiermesh.runner.v1 import runner_pb2 as pb

Answer = Callable[[Callable[[Any], None]], None]
FAILED = router_pb2.Attempt.RESULT_FAILED


def counted(sink: Callable[[Any], None]) -> None:
    sink(pb.GenerateReply(progress=True))
    sink(pb.GenerateReply(finish_reason=pb.FINISH_REASON_STOP, token_count=pb.TokenCount(tokens=7)))
    # Whatever follows is nobody's.
    sink(pb.GenerateReply(finish_reason=pb.FINISH_REASON_STOP))


def answered(sink: Callable[[Any], None]) -> None:
    sink(pb.GenerateReply(started=True))
    sink(pb.GenerateReply(text="Blue", finish_reason=pb.FINISH_REASON_LENGTH))


def silent(_sink: Callable[[Any], None]) -> None:
    pass


def refusing(code: Code) -> Answer:
    return lambda sink: sink(pb.GenerateReply(error=MeshError(code, "no").to_proto()))


def broken(sink: Callable[[Any], None]) -> None:
    sink(MeshError(Code.UNAVAILABLE, "the connection broke"))


class World:
    """A router that names one runner after the other, each of which answers in its own way."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        self.placed: list[dict[str, Any]] = []
        self.calls: list[pb.GenerateCall] = []
        self.cancelled: list[int] = []
        self.cut_off = CutOff()
        mesh = SimpleNamespace(placer=self, runners=self)
        self.counter = TokenCounter(cast("Mesh", mesh), cast("PaidPath", SimpleNamespace(cut_off=self.cut_off)))

    async def place(self, _model: object, _account: str, _timeout: float, **wanted: Any) -> Assignment:
        attempts: Sequence[router_pb2.Attempt] = wanted["attempts"]
        self.placed.append(wanted | {"attempts": [(each.runner_id, each.result) for each in attempts]})
        return Assignment(f"runner-{len(self.placed)}", "address:1")

    def get(self, _address: str, _model: object) -> Self:
        return self

    def start(self, call: pb.GenerateCall, sink: Callable[[Any], None], _timeout: float) -> int:
        self.calls.append(call)
        asyncio.get_running_loop().call_soon(self._answers.pop(0), sink)
        return len(self.calls)

    def cancel(self, call_id: int) -> None:
        self.cancelled.append(call_id)

    async def count(self) -> int:
        context = RequestContext("req_1", 0.0)
        call = pb.GenerateCall(request_id="req_1", model=MODEL.id)
        return (await self.counter.count(call, MODEL, Principal("key_1", "acct_1"), context, ("vision",))).tokens


async def test_a_count_needs_no_slot_and_says_whose_it_is() -> None:
    world = World(counted)
    assert await world.count() == 7
    (wanted,) = world.placed
    assert wanted["slotless"]
    assert wanted["capabilities"] == ("vision",)
    (call,) = world.calls
    assert call.WhichOneof("task") == "token_count"
    assert call.cache_scope
    assert "acct_1" not in call.cache_scope
    # For a runner that does not know counts, and answers.
    assert (call.max_tokens, call.whole) == (1, True)


async def test_another_runner_counts_if_one_is_gone() -> None:
    world = World(broken, refusing(Code.UNAVAILABLE), counted)
    assert await world.count() == 7
    attempts = [each["attempts"] for each in world.placed]
    assert attempts == [[], [("runner-1", FAILED)], [("runner-1", FAILED), ("runner-2", FAILED)]]


async def test_after_a_few_runners_the_client_gets_the_error() -> None:
    world = World(*[broken] * 5)
    with pytest.raises(MeshError) as failure:
        await world.count()
    assert failure.value.code is Code.UNAVAILABLE
    assert len(world.calls) == 4


@pytest.mark.parametrize("code", [Code.INVALID_REQUEST, Code.OVERLOADED, Code.INTERNAL])
async def test_what_another_runner_would_not_do_better_is_told(code: Code) -> None:
    world = World(refusing(code), counted)
    with pytest.raises(MeshError) as failure:
        await world.count()
    assert failure.value.code is code
    # No runner is taken out of service for it.
    assert [each["attempts"] for each in world.placed] == [[]]


async def test_a_runner_that_answers_has_not_counted() -> None:
    world = World(answered)
    with pytest.raises(MeshError, match="cannot count tokens yet") as failure:
        await world.count()
    assert failure.value.code is Code.OVERLOADED


async def test_a_count_that_nobody_waits_for_is_withdrawn() -> None:
    world = World(silent)
    task = asyncio.create_task(world.count())
    await eventually(lambda: len(world.calls) == 1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert world.cancelled == [1]


async def test_an_edge_that_stops_ends_its_counts() -> None:
    world = World(silent)
    task = asyncio.create_task(world.count())
    await eventually(lambda: len(world.calls) == 1)
    world.cut_off.now()
    with pytest.raises(MeshError, match="restarted"):
        await task
    assert world.cancelled == [1]
