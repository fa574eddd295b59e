"""Asks the router where a request should run, and follows which models are available."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import grpc
from msgspec import Struct

from services.common.batch import BatchClient
from services.common.catalog import Model
from services.common.errors import MeshError
from services.common.retry.outage import Outage
from services.common.retry.pause import pause
from services.common.rpc.channels import OpenChannel
from services.common.telemetry.logs import get_logger
from tiermesh.common.v1.trace_pb2 import TraceContext
from tiermesh.router.v1 import router_pb2, router_pb2_grpc

log = get_logger()
RouterBatch = BatchClient[router_pb2.RouteCall, router_pb2.RouteReply]

# Seconds between two attempts to follow what is available.
_PAUSE = 0.2
# How long a report may wait for a router, in seconds.
_REPORT_SECONDS = 10.0


class Assignment(Struct, frozen=True):
    """Where a request runs."""

    runner_id: str
    address: str
    # Seconds that the request has waited for a free slot.
    waited: float = 0.0
    # What the router was told of the prompt, to tell it again if the request must move.
    prefix_hashes: Sequence[int] = ()
    # Digest of what the runner's tokens spell.
    vocabulary: str = ""


def router_client(
    addresses: list[str],
    open_channel: OpenChannel,
    *,
    silence: float,
    clock: Callable[[], float] = time.monotonic,
) -> RouterBatch:
    """Returns the client of the router; asking twice for a place harms nothing.

    A router shows life while requests wait for a slot, so one that is not heard for `silence` seconds is given up.
    """
    return BatchClient(
        "router",
        addresses,
        open_channel=open_channel,
        open_stream=lambda channel: router_pb2_grpc.RouterServiceStub(channel).Route(),
        new_frame=router_pb2.RouteRequest,
        retry=True,
        silence=silence,
        clock=clock,
    )


class Placer:
    """Finds runners for requests."""

    def __init__(self, client: RouterBatch) -> None:
        self._client = client
        # The router would not miss a report whose task was collected.
        self._reports: set[asyncio.Task[None]] = set()

    async def place(  # noqa: PLR0913 - each is a choice of its own, and only by name
        self,
        model: Model,
        account_id: str,
        timeout: float,
        *,
        attempts: Sequence[router_pb2.Attempt] = (),
        capabilities: Sequence[str] = (),
        prefix_hashes: Sequence[int] = (),
        vocabulary: str = "",
        slotless: bool = False,
        request_id: str,
        trace: TraceContext | None,
    ) -> Assignment:
        """Returns a runner, waiting at most `timeout` seconds for a free slot; raises MeshError if there is none.

        Of a `vocabulary`, the runner's has to have this digest. What is `slotless` needs no slot and waits for none.
        """
        call = router_pb2.RouteCall(
            model=model.id,
            account_id=account_id,
            # For protobuf nothing is quicker to take than an empty list.
            attempts=attempts or None,
            capabilities=capabilities or None,
            prefix_hashes=prefix_hashes or None,
            vocabulary=vocabulary,
            slotless=slotless,
            request_id=request_id,
            trace=trace,
        )
        reply = await self._client.request(call, timeout)
        if reply.HasField("error"):
            raise MeshError.from_proto(reply.error)
        return Assignment(reply.runner_id, reply.address, reply.waited_ms / 1000, prefix_hashes, reply.vocabulary)

    def report(self, attempt: router_pb2.Attempt, request_id: str) -> None:
        """Tells the router how an attempt ended after which no other one follows; nobody waits for that."""
        call = router_pb2.RouteCall(attempts=[attempt], report_only=True, request_id=request_id)
        task = asyncio.get_running_loop().create_task(self._report(call))
        self._reports.add(task)
        task.add_done_callback(self._reports.discard)

    async def _report(self, call: router_pb2.RouteCall) -> None:
        try:
            await self._client.request(call, _REPORT_SECONDS)
        except MeshError as error:
            log.warning("attempt_not_reported", request_id=call.request_id, code=error.code.name)


class AvailableModels:
    """Knows which models can be served now, from the router's availability stream.

    While no router can be reached, the last snapshot stands: runners may well be alive.
    """

    def __init__(self, addresses: Sequence[str], open_channel: OpenChannel) -> None:
        self._addresses = addresses
        self._open_channel = open_channel
        # How many healthy runners each model has.
        self._runners: dict[str, int] | None = None
        # Begins when an attempt fails of anything but the router.
        self._outage = Outage()

    @property
    def known(self) -> bool:
        """Whether the first snapshot is in."""
        return self._runners is not None

    def __getitem__(self, model_id: str) -> bool:
        return self._count(model_id) > 0

    def has_choice(self, model_id: str) -> bool:
        """Whether several runners serve a model."""
        return self._count(model_id) > 1

    def _count(self, model_id: str) -> int:
        return self._runners.get(model_id, 0) if self._runners else 0

    def set_addresses(self, addresses: Sequence[str]) -> None:
        """Follows one of these routers, at least one, when the stream ends that is being followed."""
        self._addresses = addresses

    async def run(self) -> None:
        """Follows the stream of one router after the other until cancelled; no failure ends it."""
        while True:
            for address in self._addresses:
                await self._attempt(address)
                await pause(_PAUSE)

    async def _attempt(self, address: str) -> None:
        """Follows the stream of one router to its end."""
        try:
            await self._follow(address)
        except grpc.aio.AioRpcError as error:
            self._outage.end()
            log.debug("availability_stream_lost", address=address, reason=error.code().name)
        except Exception as error:
            # Whatever it is, such as an unreadable certificate file, the next attempt may do better; a task that ended
            # would never be missed.
            reason = f"{type(error).__name__} {getattr(error, 'strerror', '')}".strip()
            if self._outage.begin(reason):
                # Once, not at each of many attempts.
                log.warning("availability_unknown", address=address, reason=reason, exc_info=True)

    async def _follow(self, address: str) -> None:
        async with self._open_channel(address) as channel:
            stream = router_pb2_grpc.RouterServiceStub(channel).WatchAvailability(
                router_pb2.WatchAvailabilityRequest(), wait_for_ready=False
            )
            async for snapshot in stream:
                self._runners = {entry.model: entry.runners for entry in snapshot.models}
