"""Stands where billing and a runner do, for tests of what lies between a client and both."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, cast

from services.common.catalog import Model, load_catalog
from services.common.settings import DEFAULT_CATALOG
from services.edge.context import RequestContext
from services.edge.paid.charge import Charge
from services.edge.paid.cut_off import CutOff
from services.edge.paid.generation import Generation
from services.edge.paid.hold import BillingBatch, BillingClient, Hold, Outcome
from services.edge.paid.progress import ProgressWatch
from services.edge.paid.routing import Placer
from services.edge.paid.runners import RunnerPool
from tiermesh.billing.v1 import billing_pb2

MODELS = {model.kind: model for model in reversed(load_catalog(Path(DEFAULT_CATALOG)).models)}
MODEL = MODELS["chat"]


class Backend:
    """Settles whatever it is told to, and notes how; what the runner sends is for each test to say."""

    def __init__(self, model: Model = MODEL) -> None:
        self.model = model
        self.outcomes: list[Outcome] = []
        # What a charge is told by when its edge stops.
        self.cut_off = CutOff()
        # Billing answers once it is set.
        self.billing_is_there = asyncio.Event()
        self.billing_is_there.set()

    def charge(self, context: RequestContext, *, by_piece: bool = False, client_left: bool = True) -> Charge:
        """Returns a charge with this backend."""
        billing = BillingClient(cast("BillingBatch", self), reserve_timeout=1, settle_timeout=1, release_timeout=1)
        answer = Generation(
            model=self.model,
            account_id="account",
            capabilities=(),
            placer=cast("Placer", None),
            runners=cast("RunnerPool", self),
            progress=ProgressWatch(time.monotonic),
            queue_timeout=1,
            request_timeout=10,
            deadline=time.monotonic() + 10,
            clock=time.monotonic,
        )
        return Charge(
            answer,
            Hold(billing, "req_1"),
            context,
            time.monotonic,
            client_left=lambda: client_left,
            by_piece=by_piece,
            while_waiting=self.cut_off.while_waiting,
        )

    async def request(self, call: billing_pb2.TransactCall, _timeout: float) -> billing_pb2.TransactReply:
        self.outcomes.append(call.settle.outcome)
        await self.billing_is_there.wait()
        return billing_pb2.TransactReply(amount=10, available=90)

    def get(self, _address: str, _model: Model) -> Self:
        return self

    def start(self, _call: object, _sink: Callable[[Any], None], _timeout: float) -> int:
        """Takes a generation; its replies go to the sink."""
        raise NotImplementedError

    def cancel(self, _call_id: int) -> None:
        pass
