"""Which models can be served now, as the router sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Set

import grpc

from services.cli.clients import RouterClient
from tiermesh.router.v1 import router_pb2

_TIMEOUT_SECONDS = 10.0
_RETRY_SECONDS = 0.1


async def current_availability(router: RouterClient) -> dict[str, router_pb2.ModelAvailability]:
    """Returns the router's view now, by model; raises CliError."""
    stream = router.stub.WatchAvailability(router_pb2.WatchAvailabilityRequest(), timeout=_TIMEOUT_SECONDS)
    try:
        async for snapshot in stream:
            return {entry.model: entry for entry in snapshot.models}
    except grpc.aio.AioRpcError as error:
        raise router.explain(error) from error
    finally:
        stream.cancel()
    return {}


async def wait_until_available(router: RouterClient, models: Set[str]) -> None:
    """Returns once all these models can be served, however long that takes."""
    while True:
        try:
            async for snapshot in router.stub.WatchAvailability(router_pb2.WatchAvailabilityRequest()):
                if models <= {entry.model for entry in snapshot.models if entry.available}:
                    return
        except grpc.aio.AioRpcError:
            # The router is being started.
            await asyncio.sleep(_RETRY_SECONDS)
