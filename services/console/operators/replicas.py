"""Asks every replica which version it is and by which catalog it sells: any health check is answered with both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.common.rpc.channels import OpenChannel
from services.common.rpc.server import CATALOG_METADATA_KEY, VERSION_METADATA_KEY

# Where the replicas of a service are now, and how to reach one.
Known = tuple[Callable[[], Sequence[str]], OpenChannel]


@dataclass(frozen=True, slots=True)
class Replica:
    """What one replica has said; version and catalog are empty if it could not be asked."""

    service: str
    address: str
    version: str = ""
    catalog: str = ""


class Examiner:
    """Asks the replicas of each service; `timeout` is in seconds."""

    def __init__(self, services: dict[str, Known], timeout: float) -> None:
        self._services = services
        self._timeout = timeout

    async def examine(self) -> list[Replica]:
        """Returns what every replica says, by service."""
        return await asyncio.gather(
            *(
                self._ask(service, address, open_channel)
                for service, (addresses, open_channel) in self._services.items()
                for address in addresses()
            )
        )

    async def _ask(self, service: str, address: str, open_channel: OpenChannel) -> Replica:
        async with open_channel(address) as channel:
            call = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=self._timeout)
            try:
                await call
                facts = {key: str(value) for key, value in await call.initial_metadata()}
            except grpc.aio.AioRpcError:
                return Replica(service, address)
        return Replica(service, address, facts.get(VERSION_METADATA_KEY, ""), facts.get(CATALOG_METADATA_KEY, ""))
