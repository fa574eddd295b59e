"""Asks the router where a request should run, and follows which models are available."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import grpc

from services.common.batch import BatchClient
from services.common.catalog import Model
from services.common.channels import OpenChannel
from services.common.errors import MeshError
from services.common.logs import get_logger
from tiermesh.router.v1 import router_pb2, router_pb2_grpc

log = get_logger()
RouterBatch = BatchClient[router_pb2.RouteCall, router_pb2.RouteReply]


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a request runs."""

    runner_id: str
    address: str


def router_client(addresses: list[str], open_channel: OpenChannel) -> RouterBatch:
    """Returns the client of the router; asking twice for a place harms nothing."""
    return BatchClient(
        "router",
        addresses,
        open_channel=open_channel,
        open_stream=lambda channel: router_pb2_grpc.RouterServiceStub(channel).Route(),
        new_frame=router_pb2.RouteRequest,
        retry=True,
    )


class Placer:
    """Finds runners for requests."""

    def __init__(self, client: RouterBatch) -> None:
        self._client = client

    async def place(
        self,
        model: Model,
        account_id: str,
        timeout: float,
        attempts: Sequence[router_pb2.Attempt] = (),
        capabilities: Sequence[str] = (),
    ) -> Placement:
        """Returns a runner, waiting at most `timeout` seconds for a free slot; raises MeshError if there is none."""
        call = router_pb2.RouteCall(model=model.id, account_id=account_id, attempts=attempts, capabilities=capabilities)
        reply = await self._client.request(call, timeout)
        if reply.HasField("error"):
            raise MeshError.from_proto(reply.error)
        return Placement(reply.runner_id, reply.address)


class Availability:
    """Knows which models can be served now, from the router's availability stream.

    While no router can be reached, the last snapshot stands: runners may well be alive.
    """

    def __init__(self, addresses: Sequence[str], open_channel: OpenChannel) -> None:
        self._addresses = addresses
        self._open_channel = open_channel
        self._available: dict[str, bool] | None = None

    @property
    def known(self) -> bool:
        """Whether the first snapshot is in."""
        return self._available is not None

    def __getitem__(self, model_id: str) -> bool:
        return self._available is not None and self._available.get(model_id, False)

    async def run(self) -> None:
        """Follows the stream of one router after the other until cancelled."""
        while True:
            for address in self._addresses:
                try:
                    await self._follow(address)
                except grpc.aio.AioRpcError as error:
                    log.debug("availability_stream_lost", address=address, reason=error.code().name)
                await asyncio.sleep(0.2)

    async def _follow(self, address: str) -> None:
        async with self._open_channel(address) as channel:
            stream = router_pb2_grpc.RouterServiceStub(channel).WatchAvailability(
                router_pb2.WatchAvailabilityRequest(), wait_for_ready=False
            )
            async for snapshot in stream:
                self._available = {entry.model: entry.available for entry in snapshot.models}
