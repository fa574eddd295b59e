"""A real server and client of a batch stream with one reply a call: AuthService, answering each key with itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

import grpc

from services.common.batch import BatchClient, BatchServer, BatchStream
from services.common.rpc.channels import channel_opener
from services.common.rpc.server import GrpcServer
from services.common.settings import TlsSettings
from tests.support.ports import free_address
from tiermesh.auth.v1 import auth_pb2, auth_pb2_grpc

NO_TLS = TlsSettings()
SERVICE = "tiermesh.auth.v1.AuthService"

Context = grpc.aio.ServicerContext[Any, Any]
EchoSession = BatchStream[auth_pb2.AuthenticateReply]
EchoClient = BatchClient[auth_pb2.AuthenticateCall, auth_pb2.AuthenticateReply]


class EchoHandler:
    """Answers at once, but holds calls whose text begins with "hold" and raises at those that begin with "crash"."""

    def __init__(self, *, holds: bool = True) -> None:
        self._holds = holds
        self.frames: list[int] = []
        self.texts: list[str] = []
        self.cancels: list[int] = []
        self.held: dict[int, tuple[EchoSession, str]] = {}
        self.timeouts_ms: list[int] = []
        self.ended: list[EchoSession] = []

    def on_calls(self, calls: Sequence[auth_pb2.AuthenticateCall], stream: EchoSession) -> None:
        self.frames.append(len(calls))
        for call in calls:
            self.texts.append(call.api_key)
            self.timeouts_ms.append(call.timeout_ms)
            if call.api_key.startswith("crash"):
                raise RuntimeError("this handler has a mistake in it")
            if self._holds and call.api_key.startswith("hold"):
                self.held[call.id] = stream, call.api_key
            else:
                stream.reply(echo(call.id, call.api_key))

    def on_cancel(self, call_id: int, stream: EchoSession) -> None:
        self.cancels.append(call_id)
        self.held.pop(call_id, None)

    def on_close(self, stream: EchoSession) -> None:
        self.ended.append(stream)
        self.held = {call_id: held for call_id, held in self.held.items() if held[0] is not stream}

    def release(self, *call_ids: int) -> None:
        """Answers these of the calls that are held, or all of them."""
        for call_id in call_ids or list(self.held):
            stream, text = self.held.pop(call_id)
            stream.reply(echo(call_id, text))


class EchoServer:
    """An AuthService on a loopback port; `async with` starts and stops it."""

    def __init__(
        self, address: str = "", *, holds: bool = True, tls: TlsSettings = NO_TLS, outbox_limit: int = 100_000
    ) -> None:
        self.handler = EchoHandler(holds=holds)
        self.batch: BatchServer[auth_pb2.AuthenticateCall, auth_pb2.AuthenticateReply] = BatchServer(
            "echo",
            self.handler,
            new_frame=auth_pb2.AuthenticateResponse,
            new_reply=auth_pb2.AuthenticateReply,
            outbox_limit=outbox_limit,
        )
        self.address = address or free_address()
        self._server = GrpcServer(self.address, tls)
        add_authenticate(self._server.server, self._authenticate)

    async def start(self) -> None:
        await self._server.start([SERVICE])

    async def stop(self, seconds: float = 5.0) -> None:
        """Drains for at most `seconds`, then closes."""
        await self._server.stop([self.batch], seconds)

    async def break_off(self) -> None:
        """Closes at once, whatever is in flight."""
        await self._server.server.stop(None)

    async def _authenticate(self, _: object, context: Context) -> None:
        await self.batch.serve(context)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.break_off()


def add_authenticate(server: grpc.aio.Server, method: Callable[[Any, Context], Awaitable[None]]) -> None:
    """Adds an AuthService that has no other rpc than the batch stream."""
    handler = grpc.stream_stream_rpc_method_handler(
        method,
        request_deserializer=auth_pb2.AuthenticateRequest.FromString,
        response_serializer=auth_pb2.AuthenticateResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Authenticate": handler}),))


def ask(text: str) -> auth_pb2.AuthenticateCall:
    """Returns a call that is answered with its own text."""
    return auth_pb2.AuthenticateCall(api_key=text)


def echo(call_id: int, text: str) -> auth_pb2.AuthenticateReply:
    """Returns the answer to a call."""
    return auth_pb2.AuthenticateReply(id=call_id, account_id=text)


@asynccontextmanager
async def echo_client(
    *addresses: str,
    name: str = "echo",
    retry: bool = True,
    tls: TlsSettings = NO_TLS,
    max_pending: int = 10_000,
    silence: float | None = None,
) -> AsyncIterator[EchoClient]:
    """Opens a client of echo servers and closes it at the end."""
    client: EchoClient = BatchClient(
        name,
        addresses,
        open_channel=channel_opener(tls),
        open_stream=lambda channel: auth_pb2_grpc.AuthServiceStub(channel).Authenticate(),
        new_frame=auth_pb2.AuthenticateRequest,
        retry=retry,
        max_pending=max_pending,
        silence=silence,
    )
    client.open()
    try:
        yield client
    finally:
        await client.close()
