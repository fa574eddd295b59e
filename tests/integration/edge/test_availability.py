"""Whatever an attempt to follow the router fails of, the edge tries again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from services.common.rpc.channels import channel_opener
from services.common.settings import TlsSettings
from services.edge.paid.routing import AvailableModels
from tests.support.waiting import eventually
from tiermesh.router.v1 import router_pb2, router_pb2_grpc

FAILURES = (PermissionError(13, "Permission denied"), PermissionError(13, "Permission denied"), ValueError("no PEM"))


class OneSnapshot(router_pb2_grpc.RouterServiceServicer):
    """Says how many runners three models have, and goes on listening."""

    async def WatchAvailability(  # noqa: N802 - gRPC names methods in upper camel case
        self, request: router_pb2.WatchAvailabilityRequest, context: Any
    ) -> AsyncIterator[router_pb2.WatchAvailabilityResponse]:
        models = [
            router_pb2.ModelAvailability(model=model, available=runners > 0, runners=runners)
            for model, runners in (("pro", 1), ("max", 2), ("none", 0))
        ]
        yield router_pb2.WatchAvailabilityResponse(models=models)
        await asyncio.Event().wait()


async def test_unreadable_certificates_do_not_end_it(capsys: pytest.CaptureFixture[str]) -> None:
    server = grpc.aio.server()
    router_pb2_grpc.add_RouterServiceServicer_to_server(OneSnapshot(), server)  # type: ignore[abstract] # nothing else is called
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    failures = iter(FAILURES)
    working = channel_opener(TlsSettings())

    def open_channel(address: str) -> grpc.aio.Channel:
        if failure := next(failures, None):
            raise failure
        return working(address)

    available_models = AvailableModels([f"127.0.0.1:{port}"], open_channel)
    running = asyncio.create_task(available_models.run())
    try:
        await eventually(lambda: available_models.known)
        names = ("pro", "max", "none", "unheard-of")
        assert [available_models[name] for name in names] == [True, True, False, False]
        assert [available_models.has_choice(name) for name in names] == [False, True, False, False]
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await server.stop(grace=None)
    # The same trouble is told once.
    assert capsys.readouterr().out.count("availability_unknown") == 2
