"""Neither a client nor a server that does not read makes the other one's memory grow."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from services.common.rpc.channels import channel_opener
from tests.support.batch_echo import NO_TLS, Context, EchoServer, add_authenticate, ask, echo_client
from tests.support.deadlines import within
from tests.support.waiting import eventually
from tiermesh.auth.v1 import auth_pb2, auth_pb2_grpc

LIMIT = 100
TEXT = "x" * 10_000


async def greet_and_never_read(_: object, context: Context) -> None:
    await context.write(auth_pb2.AuthenticateResponse())
    await asyncio.Event().wait()


async def read_to_end(stream: Any) -> None:
    while await stream.read() is not grpc.aio.EOF:
        pass


async def test_a_client_that_does_not_read_is_cut_off_and_learns_why() -> None:
    async with EchoServer(outbox_limit=LIMIT) as server, channel_opener(NO_TLS)(server.address) as channel:
        stream = auth_pb2_grpc.AuthServiceStub(channel).Authenticate()
        # The answer to the first call is the only thing that is read, so that the server's end of the stream is known.
        await stream.write(auth_pb2.AuthenticateRequest(calls=[auth_pb2.AuthenticateCall(id=1, api_key="hold")]))
        await eventually(lambda: bool(server.handler.held))
        (served, _) = server.handler.held[1]
        calls = [auth_pb2.AuthenticateCall(id=2 + number, api_key=TEXT) for number in range(LIMIT // 2)]
        sent = 0
        while not server.handler.ended:
            await stream.write(auth_pb2.AuthenticateRequest(calls=calls))
            assert len(served.outbox) <= LIMIT
            sent += 1
            assert sent < 10_000, "the server let it pass"
        assert server.handler.ended == [served]
        assert len(served.outbox) == 0
        # The stream is over for the server, whatever the client does.
        async with within(2.0):
            await server.batch.drain(30.0)
        # What was on its way is still there to be read, and the reason comes after it.
        with pytest.raises(grpc.aio.AioRpcError):
            await read_to_end(stream)
        assert await stream.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await stream.details() == "the client does not read its replies"


async def test_other_clients_do_not_notice_one_that_does_not_read() -> None:
    async with (
        EchoServer(outbox_limit=LIMIT) as server,
        echo_client(server.address) as client,
        channel_opener(NO_TLS)(server.address) as channel,
    ):
        stream = auth_pb2_grpc.AuthServiceStub(channel).Authenticate()
        calls = [auth_pb2.AuthenticateCall(id=1 + number, api_key=TEXT) for number in range(LIMIT // 2)]
        while not server.handler.ended:
            await stream.write(auth_pb2.AuthenticateRequest(calls=calls))
            assert (await client.request(ask("well"), 5.0)).account_id == "well"
        assert (await client.request(ask("still well"), 5.0)).account_id == "still well"


async def test_a_client_that_is_cut_off_connects_again_and_its_calls_are_answered() -> None:
    async with EchoServer(outbox_limit=2) as server, echo_client(server.address) as client:
        texts = ["hold one", "hold two", "hold three"]
        answers = [asyncio.create_task(client.request(ask(text), 10.0)) for text in texts]
        await eventually(lambda: len(server.handler.held) == 3)
        # Three answers in one turn are more than the outbox takes.
        server.handler.release()
        await eventually(lambda: len(server.handler.ended) == 1 and len(server.handler.held) == 3)
        for call_id in list(server.handler.held):
            server.handler.release(call_id)
            await eventually(lambda: client.pending == len(server.handler.held))
        assert [(await answer).account_id for answer in answers] == texts


async def test_calls_for_a_server_that_does_not_read_are_bounded_by_the_pending_ones() -> None:
    server = grpc.aio.server()
    add_authenticate(server, greet_and_never_read)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        async with echo_client(address, max_pending=200) as client:
            await eventually(lambda: client.connected)
            for _ in range(100):
                ids = [client.start(ask(TEXT), lambda _: None, 60.0) for _ in range(200)]
                await asyncio.sleep(0)
                for call_id in ids:
                    client.cancel(call_id)
            outbox = client._lanes[0].outbox
            assert (client.pending, len(outbox)) == (0, 0)
            client.start(ask(TEXT), lambda _: None, 60.0)
            assert len(outbox) == 1
    finally:
        await server.stop(None)
