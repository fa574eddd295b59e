"""A real server and client of a batch stream with many replies a call: RunnerService, counting to `max_tokens`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

import grpc

from services.common.batch import BatchClient, BatchServer, BatchStream
from services.common.rpc.channels import channel_opener
from services.common.rpc.server import GrpcServer
from services.common.settings import TlsSettings
from tests.support.ports import free_address
from tiermesh.runner.v1 import runner_pb2, runner_pb2_grpc

SERVICE = "tiermesh.runner.v1.RunnerService"

TokenStream = BatchStream[runner_pb2.GenerateReply]
TokenClient = BatchClient[runner_pb2.GenerateCall, runner_pb2.GenerateReply]


class TokenHandler:
    """Sends every running call its next number each time that `step` is called, like the iterations of an engine."""

    def __init__(self) -> None:
        self.running: dict[tuple[TokenStream, int], list[int]] = {}
        self.cancels: list[int] = []

    def on_calls(self, calls: Sequence[runner_pb2.GenerateCall], stream: TokenStream) -> None:
        for call in calls:
            self.running[stream, call.id] = list(range(call.max_tokens))

    def on_cancel(self, call_id: int, stream: TokenStream) -> None:
        self.cancels.append(call_id)
        self.running.pop((stream, call_id), None)

    def on_close(self, stream: TokenStream) -> None:
        self.running = {key: left for key, left in self.running.items() if key[0] is not stream}

    def step(self) -> None:
        """Sends one number to each call, and the end with the last."""
        for (stream, call_id), left in list(self.running.items()):
            reply = runner_pb2.GenerateReply(id=call_id, token_ids=[left.pop(0)])
            if not left:
                reply.finish_reason = runner_pb2.FINISH_REASON_LENGTH
                del self.running[stream, call_id]
            stream.reply(reply)


class TokenServer:
    """A RunnerService on a loopback port; `async with` starts and stops it."""

    def __init__(self, address: str = "") -> None:
        self.handler = TokenHandler()
        self.batch: BatchServer[runner_pb2.GenerateCall, runner_pb2.GenerateReply] = BatchServer(
            "tokens", self.handler, new_frame=runner_pb2.GenerateResponse, new_reply=runner_pb2.GenerateReply
        )
        self.address = address or free_address()
        self._server = GrpcServer(self.address, TlsSettings())
        handler = grpc.stream_stream_rpc_method_handler(
            self._generate,
            request_deserializer=runner_pb2.GenerateRequest.FromString,
            response_serializer=runner_pb2.GenerateResponse.SerializeToString,
        )
        self._server.server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, {"Generate": handler}),)
        )

    async def stop(self, seconds: float = 5.0) -> None:
        """Drains for at most `seconds`, then closes."""
        await self._server.stop([self.batch], seconds)

    async def run(self) -> None:
        """Steps for ever, as an engine does."""
        while True:
            self.handler.step()
            await asyncio.sleep(0)

    async def _generate(self, _: object, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        await self.batch.serve(context)

    async def __aenter__(self) -> Self:
        await self._server.start([SERVICE])
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.server.stop(None)


class Answer:
    """A sink that collects one call's numbers and tells when the call has ended."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.ends: list[Any] = []
        self.ended = asyncio.Event()

    def __call__(self, reply: Any) -> None:
        if isinstance(reply, runner_pb2.GenerateReply):
            self.numbers.extend(reply.token_ids)
            if not _is_last(reply):
                return
        self.ends.append(reply)
        self.ended.set()


def count_to(tokens: int) -> runner_pb2.GenerateCall:
    """Returns a call that is answered with the numbers below `tokens`, each in a reply of its own."""
    return runner_pb2.GenerateCall(max_tokens=tokens)


def _is_last(reply: runner_pb2.GenerateReply) -> bool:
    return reply.finish_reason != 0 or reply.HasField("error")


@asynccontextmanager
async def token_client(*addresses: str, name: str = "tokens") -> AsyncIterator[TokenClient]:
    """Opens a client of token servers and closes it at the end."""
    client: TokenClient = BatchClient(
        name,
        addresses,
        open_channel=channel_opener(TlsSettings()),
        open_stream=lambda channel: runner_pb2_grpc.RunnerServiceStub(channel).Generate(),
        new_frame=runner_pb2.GenerateRequest,
        retry=False,
        is_last=_is_last,
    )
    client.open()
    try:
        yield client
    finally:
        await client.close()
