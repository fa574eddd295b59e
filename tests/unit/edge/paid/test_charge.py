"""What an answer costs that ends before its end, by who ended it and by how much of it has reached the edge."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from services.common.catalog import Kind
from services.common.errors import MeshError
from services.edge.context import RequestContext
from services.edge.paid.hold import Outcome
from services.edge.paid.routing import Assignment
from tests.support.waiting import eventually
from tests.unit.edge.backend import MODELS, Backend
from tiermesh.billing.v1 import billing_pb2
from tiermesh.runner.v1 import runner_pb2

EARLY, LATE = billing_pb2.OUTCOME_CLIENT_LEFT_EARLY, billing_pb2.OUTCOME_CLIENT_LEFT_LATE
BEGUN = runner_pb2.GenerateReply(started=True)
IMAGE = runner_pb2.GenerateReply(image=b"image", finish_reason=runner_pb2.FINISH_REASON_STOP)
SOUND = runner_pb2.GenerateReply(audio=b"sound")


class Runner(Backend):
    """Sends what it is told to."""

    def __init__(self, replies: Sequence[runner_pb2.GenerateReply | None] = ()) -> None:
        kind: Kind = "image" if IMAGE in replies else "speech" if SOUND in replies else "chat"
        super().__init__(MODELS[kind])
        self.sinks: list[Callable[[Any], None]] = []

    def start(self, _call: object, sink: Callable[[Any], None], _timeout: float) -> int:
        self.sinks.append(sink)
        return len(self.sinks)


@pytest.mark.parametrize("left", [asyncio.CancelledError, ConnectionResetError])
@pytest.mark.parametrize(
    ("replies", "by_piece", "outcome"),
    [
        # One answer: its beginning is what is paid for, whether its bytes were sent yet or not.
        ([None], False, EARLY),
        ([BEGUN], False, LATE),
        ([SOUND], False, LATE),
        ([None, BEGUN], False, LATE),
        # Several images, each at its price, that are sent together or not at all.
        ([None, None], True, EARLY),
        ([IMAGE, None], True, EARLY),
        ([IMAGE, IMAGE], True, LATE),
    ],
)
async def test_leaving_costs_what_has_been_made(
    left: type[BaseException], replies: list[runner_pb2.GenerateReply | None], by_piece: bool, outcome: Outcome
) -> None:
    backend = Runner(replies)
    with pytest.raises(left):  # noqa: PT012 - raised inside is what leaving is
        async with backend.charge(RequestContext("req_1", 0.0), by_piece=by_piece) as charge:
            charge.start([runner_pb2.GenerateCall() for _ in replies], Assignment("runner", "address"), None)
            for sink, reply in zip(backend.sinks, replies, strict=True):
                if reply is not None:
                    sink(reply)
            raise left
    await eventually(lambda: backend.outcomes == [outcome])


@pytest.mark.parametrize("replies", [[None], [BEGUN], [IMAGE]])
async def test_a_cancellation_that_the_server_makes_is_free(replies: list[runner_pb2.GenerateReply | None]) -> None:
    backend = Runner(replies)
    with pytest.raises(asyncio.CancelledError):  # noqa: PT012 - raised inside is what cancelling is
        async with backend.charge(RequestContext("req_1", 0.0), client_left=False) as charge:
            charge.start([runner_pb2.GenerateCall()], Assignment("runner", "address"), None)
            for sink, reply in zip(backend.sinks, replies, strict=True):
                if reply is not None:
                    sink(reply)
            raise asyncio.CancelledError
    await eventually(lambda: backend.outcomes == [billing_pb2.OUTCOME_FAILED])


async def test_a_cancellation_by_the_server_while_the_charge_is_made_undoes_it() -> None:
    backend = Runner()
    with pytest.raises(asyncio.CancelledError):  # noqa: PT012 - raised inside is what cancelling is
        async with backend.charge(RequestContext("req_1", 0.0), client_left=False) as charge:
            charge.start([runner_pb2.GenerateCall()], Assignment("runner", "address"), None)
            await charge.settle(1, 1)
            raise asyncio.CancelledError
    await eventually(lambda: backend.outcomes == [billing_pb2.OUTCOME_COMPLETED, billing_pb2.OUTCOME_FAILED])


async def test_an_edge_that_stops_while_billing_is_silent_says_so_and_undoes_the_charge() -> None:
    backend = Runner()
    backend.billing_is_there.clear()

    async def answer() -> None:
        async with backend.charge(RequestContext("req_1", 0.0)) as charge:
            charge.start([runner_pb2.GenerateCall()], Assignment("runner", "address"), None)
            await charge.settle(1, 1)

    answering = asyncio.create_task(answer())
    await eventually(lambda: backend.outcomes == [billing_pb2.OUTCOME_COMPLETED])
    backend.cut_off.now()
    with pytest.raises(MeshError, match="restarted"):
        await answering
    await eventually(lambda: backend.outcomes[-1] == billing_pb2.OUTCOME_FAILED)
