"""The runner's gRPC face."""

# ruff: noqa: N802 - gRPC names methods in upper camel case.

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc

from services.common.batch import BatchServer
from services.runner.generation import Generation
from services.runner.status import StatusBoard
from tiermesh.runner.v1 import runner_pb2, runner_pb2_grpc

SERVICE_NAME = "tiermesh.runner.v1.RunnerService"
GenerateServer = BatchServer[runner_pb2.GenerateCall, runner_pb2.GenerateReply]


def generate_server(generation: Generation[Any, Any]) -> GenerateServer:
    """Returns the server of the Generate stream."""
    return BatchServer(
        "generate", generation, new_frame=runner_pb2.GenerateResponse, new_reply=runner_pb2.GenerateReply
    )


class RunnerService(runner_pb2_grpc.RunnerServiceServicer):
    """Serves RunnerService."""

    def __init__(self, generate: GenerateServer, status: StatusBoard) -> None:
        self._generate = generate
        self._status = status

    # The generated type knows generators only; grpc.aio also takes a method that reads and writes the context.
    async def Generate(  # type: ignore[override]
        self, request_iterator: object, context: grpc.aio.ServicerContext[Any, Any]
    ) -> None:
        """Serves one edge's stream of calls."""
        del request_iterator
        await self._generate.serve(context)

    async def WatchStatus(
        self, request: runner_pb2.WatchStatusRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[runner_pb2.WatchStatusResponse]:
        """Sends the status to one router."""
        del request, context
        async for status in self._status.watch():
            yield status
