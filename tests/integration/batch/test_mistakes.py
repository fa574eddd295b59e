"""A mistake in a sink, a handler or a message costs the calls it is about, and no other."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from services.common.batch import BatchClient
from services.common.errors import Code, MeshError
from services.common.rpc.channels import channel_opener
from tests.support.batch_echo import NO_TLS, EchoClient, EchoServer, ask, echo_client
from tests.support.batch_tokens import Answer, TokenServer, count_to, token_client
from tests.support.deadlines import within
from tests.support.waiting import eventually
from tiermesh.auth.v1 import auth_pb2, auth_pb2_grpc


def mistaken(told: list[Any]) -> Any:
    """Returns a sink that raises at whatever it is told."""

    def sink(reply: Any) -> None:
        told.append(reply)
        raise RuntimeError("this sink has a mistake in it")

    return sink


async def test_a_sink_that_raises_does_not_disturb_other_calls() -> None:
    told: list[Any] = []
    async with EchoServer() as server, echo_client(server.address) as client:
        await client.request(ask("connect"), 5.0)
        client.start(ask("mistaken"), mistaken(told), 5.0)
        reply = await client.request(ask("in the same frame"), 5.0)
        assert reply.account_id == "in the same frame"
        assert len(told) == 1
        assert (await client.request(ask("later"), 5.0)).account_id == "later"
        assert (client.pending, server.handler.ended) == (0, [])


async def test_a_sink_that_raises_before_the_last_reply_loses_its_call() -> None:
    told: list[Any] = []
    async with TokenServer() as server, token_client(server.address) as client:
        other = Answer()
        call_id = client.start(count_to(3), mistaken(told), 5.0)
        client.start(count_to(3), other, 5.0)
        await eventually(lambda: len(server.handler.running) == 2)
        for _ in range(3):
            server.handler.step()
        await other.ended.wait()
        assert (len(told), other.numbers) == (1, [0, 1, 2])
        client.start(count_to(3), other, 5.0)
        await eventually(lambda: server.handler.cancels == [call_id])


async def test_a_sink_that_raises_at_an_error_does_not_keep_others_from_theirs() -> None:
    told: list[Any] = []
    async with EchoServer() as server, echo_client(server.address, retry=False) as client:
        for _ in range(3):
            client.start(ask("hold"), mistaken(told), 5.0)
        client.start(ask("hold"), mistaken(told), 0.1)
        await eventually(lambda: len(told) == 1)
        await server.break_off()
        await eventually(lambda: len(told) == 4)
        assert [error.code for error in told] == [Code.DEADLINE_EXCEEDED, *[Code.UNAVAILABLE] * 3]


async def test_a_handler_that_raises_answers_the_calls_of_that_frame_with_internal() -> None:
    async with EchoServer() as server, echo_client(server.address) as client:
        held = asyncio.create_task(client.request(ask("hold in another frame"), 5.0))
        await eventually(lambda: len(server.handler.held) == 1)
        texts = ["first", "hold", "crash", "after the crash"]
        replies = await asyncio.gather(*(client.request(ask(text), 5.0) for text in texts))
        # What was answered before the mistake stays answered.
        assert replies[0].account_id == "first"
        errors = [MeshError.from_proto(reply.error) for reply in replies[1:]]
        assert {error.code for error in errors} == {Code.INTERNAL}
        assert "mistake" not in str(errors)
        # The handler has dropped the call that it held already; the one of another frame is still there.
        assert [text for _, text in server.handler.held.values()] == ["hold in another frame"]
        server.handler.release()
        assert (await held).account_id == "hold in another frame"
        assert server.handler.ended == []


async def test_a_handler_that_raises_at_a_cancel_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async with EchoServer() as server, echo_client(server.address) as client:
        call_id = client.start(ask("hold"), lambda _: None, 5.0)
        await eventually(lambda: call_id in server.handler.held)
        attempts: list[int] = []

        def on_cancel(call_id: int, _: Any) -> None:
            attempts.append(call_id)
            raise RuntimeError("this handler has a mistake in it")

        monkeypatch.setattr(server.handler, "on_cancel", on_cancel)
        client.cancel(call_id)
        assert (await client.request(ask("after"), 5.0)).account_id == "after"
        assert (attempts, server.handler.ended) == ([call_id], [])


async def test_a_handler_that_raises_at_the_end_of_a_session_does_not_stop_a_drain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with EchoServer() as server:

        def on_close(_: Any) -> None:
            raise RuntimeError("this handler has a mistake in it")

        monkeypatch.setattr(server.handler, "on_close", on_close)
        async with echo_client(server.address) as client:
            await client.request(ask("connect"), 5.0)
        async with within(2.0):
            await server.batch.drain(30.0)


async def test_a_reply_that_cannot_be_written_ends_the_stream_and_the_client_tries_again() -> None:
    async with EchoServer() as server, echo_client(server.address) as client:
        answer = asyncio.create_task(client.request(ask("hold"), 10.0))
        await eventually(lambda: bool(server.handler.held))
        (stream, _) = next(iter(server.handler.held.values()))
        stream.reply(auth_pb2.RateLimit())  # type: ignore[arg-type] # the mistake
        await eventually(lambda: server.handler.ended == [stream] and bool(server.handler.held))
        server.handler.release()
        assert (await answer).account_id == "hold"


async def test_a_call_that_cannot_be_written_does_not_block_those_that_can() -> None:
    def new_frame(**fields: Any) -> Any:
        if any(call.api_key == "unwritable" for call in fields["calls"]):
            raise ValueError("too large")
        return auth_pb2.AuthenticateRequest(**fields)

    async with EchoServer() as server:
        client: EchoClient = BatchClient(
            "echo",
            [server.address],
            open_channel=channel_opener(NO_TLS),
            open_stream=lambda channel: auth_pb2_grpc.AuthServiceStub(channel).Authenticate(),
            new_frame=new_frame,
            retry=False,
        )
        client.open()
        try:
            await client.request(ask("connect"), 5.0)
            with pytest.raises(MeshError, match="writing failed"):
                await client.request(ask("unwritable"), 30.0)
            await eventually(lambda: client.connected)
            assert (await client.request(ask("after"), 5.0)).account_id == "after"
        finally:
            await client.close()


async def test_a_method_that_the_server_does_not_have_is_reported() -> None:
    server = grpc.aio.server()
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        async with echo_client(address, retry=False) as client:
            with pytest.raises(MeshError, match="UNIMPLEMENTED"):
                await client.request(ask("nobody"), 5.0)
    finally:
        await server.stop(None)
