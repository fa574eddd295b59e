"""Servers that do not do what a batch server does, and the orderly end of a client."""

from __future__ import annotations

import asyncio
import random
import socket
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs

from services.common.batch import BatchClient, BatchServer, lane
from services.common.errors import Code, MeshError
from services.common.rpc.channels import channel_opener
from tests.support.batch_echo import (
    NO_TLS,
    Context,
    EchoClient,
    EchoHandler,
    EchoServer,
    add_authenticate,
    ask,
    echo_client,
)
from tests.support.deadlines import within
from tests.support.ports import free_address
from tests.support.waiting import eventually
from tiermesh.auth.v1 import auth_pb2, auth_pb2_grpc


@pytest.fixture
def quick_connect_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "CONNECT_TIMEOUT", 0.2)


async def never_greet(_: object, context: Context) -> None:
    await asyncio.Event().wait()


@pytest.mark.usefixtures("quick_connect_timeout")
async def test_a_port_that_accepts_but_never_speaks_is_given_up_and_tried_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        async with echo_client(address, retry=False) as client:
            with pytest.raises(MeshError, match="no answer to connecting") as caught:
                await client.request(ask("nobody"), 30.0)
            assert caught.value.code is Code.UNAVAILABLE
            listener.close()
            async with EchoServer(address):
                await eventually(lambda: client.connected)
                assert (await client.request(ask("now"), 5.0)).account_id == "now"


@pytest.mark.usefixtures("quick_connect_timeout")
async def test_a_server_that_never_greets_is_not_connected() -> None:
    server = grpc.aio.server()
    add_authenticate(server, never_greet)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        async with echo_client(address, retry=False) as client:
            with pytest.raises(MeshError, match="no answer to connecting"):
                await client.request(ask("nobody"), 30.0)
            assert not client.connected
    finally:
        await server.stop(None)


async def test_a_channel_that_cannot_be_opened_is_tried_again() -> None:
    async with EchoServer() as server:
        attempts: list[str] = []

        def open_channel(address: str) -> grpc.aio.Channel:
            attempts.append(address)
            if len(attempts) < 3:
                raise FileNotFoundError(2, "No such file or directory", "tls.crt")
            return channel_opener(NO_TLS)(address)

        client: EchoClient = BatchClient(
            "echo",
            [server.address],
            open_channel=open_channel,
            open_stream=lambda channel: auth_pb2_grpc.AuthServiceStub(channel).Authenticate(),
            new_frame=auth_pb2.AuthenticateRequest,
            retry=True,
        )
        client.open()
        try:
            assert (await client.request(ask("patient"), 5.0)).account_id == "patient"
            assert len(attempts) == 3
        finally:
            await client.close()


async def test_a_server_that_cannot_be_reached_is_logged_once_and_not_at_each_attempt() -> None:
    with capture_logs() as logs:
        async with echo_client(EchoServer().address) as client:
            with pytest.raises(MeshError):
                await client.request(ask("nobody"), 1.0)
    refused = [(record["event"], record["log_level"], record["reason"]) for record in logs]
    assert refused == [("batch_stream_refused", "warning", "UNAVAILABLE")]


async def test_a_client_that_leaves_while_it_is_greeted_is_forgotten() -> None:
    class GoneContext:
        async def write(self, _: object) -> None:
            raise grpc.aio.UsageError("the client is gone")

    batch: BatchServer[auth_pb2.AuthenticateCall, auth_pb2.AuthenticateReply] = BatchServer(
        "echo", EchoHandler(), new_frame=auth_pb2.AuthenticateResponse, new_reply=auth_pb2.AuthenticateReply
    )
    with pytest.raises(grpc.aio.UsageError):
        await batch.serve(GoneContext())  # type: ignore[arg-type] # as little of a context as is used
    async with within(2.0):
        await batch.drain(30.0)


async def test_a_client_that_closes_tells_its_callers_and_its_server() -> None:
    told: list[Any] = []
    async with EchoServer() as server:
        async with echo_client(server.address) as client:
            client.start(ask("hold"), told.append, 30.0)
            await eventually(lambda: bool(server.handler.held))
        assert [(error.code, error.message) for error in told] == [
            (Code.UNAVAILABLE, "echo is shutting down; try again shortly")
        ]
        assert (client.pending, client.connected) == (0, False)
        await eventually(lambda: len(server.handler.ended) == 1)
        assert not server.handler.held


async def test_calls_after_close_fail_at_once() -> None:
    async with EchoServer() as server:
        async with echo_client(server.address) as client:
            await client.request(ask("connect"), 5.0)
        async with within(2.0):
            with pytest.raises(MeshError, match="is shutting down"):
                await client.request(ask("too late"), 30.0)
        assert client.pending == 0


async def test_a_client_can_be_closed_before_it_has_connected_and_twice() -> None:
    async with echo_client(EchoServer().address) as client:
        waiting = asyncio.create_task(client.request(ask("nobody"), 30.0))
        await eventually(lambda: client.pending == 1)
        await client.close()
        with pytest.raises(MeshError, match="is shutting down"):
            await waiting


async def test_a_client_can_be_closed_at_every_moment_of_connecting() -> None:
    address, chance = free_address(), random.Random(1)
    for _ in range(150):
        # A lane that did not notice would hold this up for ever.
        async with within(10.0), echo_client(address):
            await asyncio.sleep(chance.uniform(0.0, 0.004))
