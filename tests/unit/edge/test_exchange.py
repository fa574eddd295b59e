"""What a client pays that leaves before the end, by how much of its answer has reached the edge."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from services.common.catalog import load_catalog
from services.common.settings import DEFAULT_CATALOG
from services.edge.answer import Answer
from services.edge.context import RequestContext
from services.edge.exchange import Exchange
from services.edge.payment import BillingBatch, Cashier, Outcome, Payment
from services.edge.routing import Placement, Placer
from services.edge.runners import RunnerPool
from tests.support.waiting import eventually
from tiermesh.billing.v1 import billing_pb2
from tiermesh.runner.v1 import runner_pb2

EARLY, LATE = billing_pb2.OUTCOME_CLIENT_LEFT_EARLY, billing_pb2.OUTCOME_CLIENT_LEFT_LATE
BEGUN = runner_pb2.GenerateReply(started=True)
IMAGE = runner_pb2.GenerateReply(image=b"image", finish_reason=runner_pb2.FINISH_REASON_STOP)
SOUND = runner_pb2.GenerateReply(audio=b"sound")


class Backend:
    """Stands where billing and a runner do: the runner sends what it is told to."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self.sinks: list[Callable[[Any], None]] = []

    async def request(self, call: billing_pb2.TransactCall, _timeout: float) -> billing_pb2.TransactReply:
        self.outcomes.append(call.settle.outcome)
        return billing_pb2.TransactReply()

    def get(self, _address: str) -> Backend:
        return self

    def start(self, _call: object, sink: Callable[[Any], None], _timeout: float) -> int:
        self.sinks.append(sink)
        return len(self.sinks)

    def cancel(self, _call_id: int) -> None:
        pass


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
    backend = Backend()
    cashier = Cashier(cast("BillingBatch", backend), reserve_timeout=1, settle_timeout=1, release_timeout=1)
    answer = Answer(
        model=load_catalog(Path(DEFAULT_CATALOG)).models[0],
        account_id="account",
        capabilities=(),
        placer=cast("Placer", None),
        runners=cast("RunnerPool", backend),
        queue_timeout=1,
        deadline=time.monotonic() + 10,
        clock=time.monotonic,
    )
    payment, context = Payment(cashier, "req_1"), RequestContext("req_1", 0.0)
    with pytest.raises(left):  # noqa: PT012 - raised inside is what leaving is
        async with Exchange(answer, payment, context, time.monotonic, by_piece=by_piece) as exchange:
            exchange.start([runner_pb2.GenerateCall() for _ in replies], Placement("runner", "address"), None)
            for sink, reply in zip(backend.sinks, replies, strict=True):
                if reply is not None:
                    sink(reply)
            raise left
    await eventually(lambda: backend.outcomes == [outcome])
