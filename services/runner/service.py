"""The runner's gRPC face."""

# ruff: noqa: N802 - gRPC names methods in upper camel case.

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc

from services.common.batch import BatchServer, Notes
from services.common.telemetry.tracing import Span, Tracing
from services.common.text_steps import AnyReply, pack
from services.runner.generation import Generation
from services.runner.status import StatusBoard
from tiermesh.runner.v1 import runner_pb2, runner_pb2_grpc

SERVICE_NAME = "tiermesh.runner.v1.RunnerService"
GenerateServer = BatchServer[runner_pb2.GenerateCall, AnyReply]


def generate_server(
    generation: Generation[Any, Any],
    tracing: Tracing | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> GenerateServer:
    """Returns the server of the Generate stream."""
    return BatchServer(
        "generate",
        generation,
        new_frame=pack,
        new_reply=runner_pb2.GenerateReply,
        notes=Notes(tracing=tracing, describe_call=_describe_call, describe_reply=_describe_reply, is_last=_is_last),
        weigh=_weigh,
        clock=clock,
    )


def _weigh(reply: AnyReply) -> int:
    """Returns the bytes of a reply that may be large; steps of text are not worth a look."""
    return reply.ByteSize() if reply.finish_reason or reply.audio else 0


def _describe_call(call: runner_pb2.GenerateCall, span: Span) -> None:
    span.set("gen_ai.request.model", call.model)
    # Tokens that another runner had produced before it failed.
    span.set("tiermesh.resumed_tokens", len(call.resume_token_ids))


def _describe_reply(reply: runner_pb2.GenerateReply, span: Span) -> None:
    span.set("gen_ai.response.finish_reasons", [_finish_reason(reply)])
    span.set("gen_ai.usage.input_tokens", reply.usage.prompt_tokens)
    span.set("gen_ai.usage.output_tokens", reply.usage.completion_tokens)


def _finish_reason(reply: runner_pb2.GenerateReply) -> str:
    return runner_pb2.FinishReason.Name(reply.finish_reason).removeprefix("FINISH_REASON_").lower()


def _is_last(reply: AnyReply) -> bool:
    return reply.finish_reason != 0


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
