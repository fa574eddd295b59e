"""The router's gRPC face."""

# ruff: noqa: N802 - gRPC names methods in upper camel case.

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any

import grpc

from services.common.batch import BatchServer, BatchStream, Notes
from services.common.errors import MeshError
from services.common.telemetry.metrics import Counter
from services.common.telemetry.tracing import Span, Tracing
from services.router.availability import Availability
from services.router.metrics import EJECTION_REASONS, EJECTIONS, REFUSAL_REASONS, REFUSALS
from services.router.placement import Needs
from services.router.queue import Waiter
from services.router.routing import Routing
from services.router.runners.drains import Drains
from services.router.runners.live_runner import LiveRunner
from services.router.runners.table import Table
from tiermesh.router.v1 import router_pb2, router_pb2_grpc

SERVICE_NAME = router_pb2.DESCRIPTOR.services_by_name["RouterService"].full_name
# What a role may call, if it is not everything.
LIMITED_CALLERS = {
    "edge": ("Route", "WatchAvailability"),
    "console": ("WatchAvailability",),
    "operator-console": ("WatchAvailability", "ListRunners", "DrainRunner", "UndrainRunner"),
}

# Seconds. Edges give up a router that they have not heard for some multiple of it.
LIFE_PERIOD = 1.0
_Stream = BatchStream[router_pb2.RouteReply]
RouteServer = BatchServer[router_pb2.RouteCall, router_pb2.RouteReply]


class RouteHandler:
    """Answers the calls of the Route stream."""

    def __init__(self, routing: Routing, table: Table) -> None:
        self._routing = routing
        self._table = table
        self._waiting: dict[_Stream, dict[int, Waiter]] = {}

    def on_calls(self, calls: Sequence[router_pb2.RouteCall], stream: _Stream) -> None:
        """Places each call or lets it wait."""
        for call in calls:
            again = bool(call.attempts) and self._learn(call.attempts[-1])
            if call.report_only:
                stream.reply(router_pb2.RouteReply(id=call.id))
                continue
            answer = partial(self._answer, stream, call.id)
            timeout = call.timeout_ms / 1000
            waiter = self._routing.route(
                _needs(call), call.account_id, timeout, answer, prefix_hashes=tuple(call.prefix_hashes), again=again
            )
            if waiter is not None:
                self._waiting.setdefault(stream, {})[call.id] = waiter

    def on_cancel(self, call_id: int, stream: _Stream) -> None:
        """Takes a waiting call out of the queue."""
        waiter = self._waiting.get(stream, {}).pop(call_id, None)
        if waiter is not None:
            self._routing.cancel(waiter)

    def on_close(self, stream: _Stream) -> None:
        """Takes all waiting calls of an edge out of the queue."""
        for waiter in self._waiting.pop(stream, {}).values():
            self._routing.cancel(waiter)

    def show_life(self) -> None:
        """Tells every edge whose calls wait that this router lives; to be called every `LIFE_PERIOD` seconds."""
        for stream, waiting in self._waiting.items():
            if waiting:
                stream.show_life()

    def _learn(self, attempt: router_pb2.Attempt) -> bool:
        """Hears of a call's last attempt and says whether the runner was only full.

        Earlier attempts were heard with the calls before; to hear them again would eject runners that have recovered.
        """
        if attempt.result == router_pb2.Attempt.RESULT_FAILED:
            self._table.fail(attempt.runner_id)
            return False
        if attempt.result == router_pb2.Attempt.RESULT_STALLED:
            self._table.stall(attempt.runner_id)
            return False
        if attempt.result == router_pb2.Attempt.RESULT_UNUSED:
            self._table.give_back(attempt.runner_id)
            return False
        self._table.refuse(attempt.runner_id)
        return True

    def _answer(self, stream: _Stream, call_id: int, outcome: LiveRunner | MeshError) -> None:
        waiting = self._waiting.get(stream)
        waiter = waiting.pop(call_id, None) if waiting else None
        if isinstance(outcome, MeshError):
            stream.reply_error(call_id, outcome)
        else:
            waited_ms = int(self._routing.waited(waiter) * 1000) if waiter else 0
            stream.reply(
                router_pb2.RouteReply(
                    id=call_id,
                    runner_id=outcome.id,
                    address=outcome.record.address,
                    waited_ms=waited_ms,
                    vocabulary=outcome.record.vocabulary,
                ),
            )


class RouterService(router_pb2_grpc.RouterServiceServicer):
    """Translates between the protos and the domain."""

    def __init__(
        self,
        routes: RouteServer,
        availability: Availability,
        table: Table,
        drains: Drains,
        depths: Callable[[], Sequence[tuple[str, int]]],
        clock: Callable[[], float],
    ) -> None:
        self._routes = routes
        self._availability = availability
        self._table = table
        self._drains = drains
        # How many wait in each tier.
        self._depths = depths
        self._clock = clock
        self._since = clock()

    async def Route(self, request_iterator: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:  # type: ignore[override]  # The batch server reads and writes through the context, which the generated signature does not foresee.
        """Serves one edge's batch stream."""
        del request_iterator
        await self._routes.serve(context)

    async def WatchAvailability(
        self, request: router_pb2.WatchAvailabilityRequest, context: Any
    ) -> AsyncIterator[router_pb2.WatchAvailabilityResponse]:
        """Sends a snapshot now and after each change."""
        del request, context
        async with aclosing(self._availability.follow()) as snapshots:
            async for counts in snapshots:
                yield router_pb2.WatchAvailabilityResponse(
                    models=[
                        router_pb2.ModelAvailability(model=model, available=runners > 0, runners=runners)
                        for model, runners in counts
                    ]
                )

    async def ListRunners(self, request: router_pb2.ListRunnersRequest, context: Any) -> router_pb2.ListRunnersResponse:
        """Describes the live table."""
        del request, context
        now = self._clock()
        return router_pb2.ListRunnersResponse(
            runners=[_view(runner, now) for runner in self._table.all()],
            tiers=[_tier(tier, queued) for tier, queued in self._depths()],
            uptime_seconds=int(now - self._since),
        )

    async def DrainRunner(self, request: router_pb2.DrainRunnerRequest, context: Any) -> router_pb2.DrainRunnerResponse:
        """Takes a runner out of use, at every router."""
        del context
        await self._drains.drain(request.runner_id)
        return router_pb2.DrainRunnerResponse()

    async def UndrainRunner(
        self, request: router_pb2.UndrainRunnerRequest, context: Any
    ) -> router_pb2.UndrainRunnerResponse:
        """Uses a runner again, at every router."""
        del context
        await self._drains.undrain(request.runner_id)
        return router_pb2.UndrainRunnerResponse()


def _describe_call(call: router_pb2.RouteCall, span: Span) -> None:
    span.set("gen_ai.request.model", call.model)
    span.set("tiermesh.attempts", len(call.attempts))


def _describe_reply(reply: router_pb2.RouteReply, span: Span) -> None:
    span.set("tiermesh.runner.id", reply.runner_id)
    span.set("tiermesh.queue.wait_ms", reply.waited_ms)


def route_server(
    handler: RouteHandler, tracing: Tracing | None = None, *, clock: Callable[[], float] = time.monotonic
) -> RouteServer:
    """Returns the batch server of the Route stream."""
    return BatchServer(
        "route",
        handler,
        new_frame=router_pb2.RouteResponse,
        new_reply=router_pb2.RouteReply,
        notes=Notes(tracing=tracing, describe_call=_describe_call, describe_reply=_describe_reply),
        clock=clock,
    )


def _needs(call: router_pb2.RouteCall) -> Needs:
    if not (call.capabilities or call.attempts or call.vocabulary or call.slotless):
        return Needs(call.model)
    full = router_pb2.Attempt.RESULT_FULL
    return Needs(
        call.model,
        frozenset(call.capabilities),
        frozenset(attempt.runner_id for attempt in call.attempts if attempt.result != full),
        call.vocabulary,
        call.slotless,
    )


def _tier(tier: str, queued: int) -> router_pb2.TierView:
    return router_pb2.TierView(
        tier=tier,
        queued=queued,
        refusals=_counts(REFUSALS, tier, REFUSAL_REASONS),
        ejections=_counts(EJECTIONS, tier, EJECTION_REASONS),
    )


def _counts(counter: Counter, tier: str, reasons: Sequence[str]) -> list[router_pb2.ReasonCount]:
    """Returns what a counter says of a tier, for reasons that it has counted."""
    values = ((reason, int(counter.labels(tier, reason).value)) for reason in reasons)
    return [router_pb2.ReasonCount(reason=reason, count=count) for reason, count in values if count]


def _view(runner: LiveRunner, now: float) -> router_pb2.RunnerView:
    record = runner.record
    return router_pb2.RunnerView(
        id=runner.id,
        address=record.address,
        tier=record.tier,
        models=record.models,
        state=runner.state,
        slots=runner.load.slots,
        active=runner.load.current(now),
        engine=record.engine,
        version=record.version,
        gpus=record.gpus,
        pages_total=record.pages,
        pages_free=runner.load.pages_free,
        tokens_per_second=runner.load.tokens_per_second,
    )
