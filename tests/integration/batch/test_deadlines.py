"""A deadline ends a call exactly once, at the client and at the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.common.errors import Code, MeshError
from services.common.rpc.channels import channel_opener
from tests.support.batch_echo import NO_TLS, EchoServer, ask, echo_client
from tests.support.batch_tokens import Answer, TokenServer, count_to, token_client
from tests.support.ports import free_address
from tests.support.waiting import eventually
from tiermesh.auth.v1 import auth_pb2, auth_pb2_grpc


async def test_a_server_that_never_answers_is_given_up_and_told() -> None:
    told: list[Any] = []
    async with EchoServer() as server, echo_client(server.address) as client:
        await client.request(ask("connect"), 5.0)
        call_id = client.start(ask("hold"), told.append, 0.1)
        await eventually(lambda: bool(told))
        assert told[0].code is Code.DEADLINE_EXCEEDED
        await eventually(lambda: server.handler.cancels == [call_id])
        assert client.pending == 0
        # A later answer finds nobody, and a later cancel is not sent.
        client.cancel(call_id)
        await client.request(ask("after"), 5.0)
        assert (len(told), server.handler.cancels) == (1, [call_id])


async def test_an_answer_that_crosses_with_the_deadline_is_dropped() -> None:
    told: list[Any] = []
    async with EchoServer() as server, echo_client(server.address) as client:
        await client.request(ask("connect"), 5.0)
        client.start(ask("hold"), told.append, 0.1)
        await eventually(lambda: bool(server.handler.held))
        held = dict(server.handler.held)
        await eventually(lambda: bool(told))
        server.handler.held = held
        server.handler.release()
        await client.request(ask("after"), 5.0)
        assert [error.code for error in told] == [Code.DEADLINE_EXCEEDED]


async def test_the_deadline_of_many_replies_runs_to_the_last() -> None:
    async with TokenServer() as server, token_client(server.address) as client:
        first, answer = Answer(), Answer()
        client.start(count_to(1), first, 5.0)
        await eventually(lambda: bool(server.handler.running))
        server.handler.step()
        await first.ended.wait()
        call_id = client.start(count_to(1_000_000), answer, 0.3)
        engine = asyncio.create_task(server.run())
        await answer.ended.wait()
        assert answer.ends[0].code is Code.DEADLINE_EXCEEDED
        assert answer.numbers == list(range(len(answer.numbers)))
        assert answer.numbers
        await eventually(lambda: server.handler.cancels == [call_id])
        engine.cancel()
        assert len(answer.ends) == 1


async def test_a_server_that_is_never_reached_is_reported_as_unavailable() -> None:
    async with echo_client(free_address()) as client:
        with pytest.raises(MeshError, match="echo cannot be reached; try again shortly") as caught:
            await client.request(ask("nobody"), 0.2)
        assert (caught.value.code, client.pending) == (Code.UNAVAILABLE, 0)


async def test_a_deadline_in_the_past_ends_the_call_but_not_before_start_returns() -> None:
    told: list[Any] = []
    async with EchoServer() as server, echo_client(server.address) as client:
        await client.request(ask("connect"), 5.0)
        client.start(ask("hold"), told.append, -1.0)
        assert told == []
        await eventually(lambda: bool(told))
        assert told[0].code is Code.DEADLINE_EXCEEDED


@pytest.mark.parametrize(("timeout_ms", "expected"), [(6_999, "refused"), (8_000, "shortened"), (0, "unlimited")])
async def test_a_call_that_is_read_late_is_done_only_if_its_caller_still_waits(timeout_ms: int, expected: str) -> None:
    async with EchoServer() as server, channel_opener(NO_TLS)(server.address) as channel:
        stream = auth_pb2_grpc.AuthServiceStub(channel).Authenticate()
        now_ms = 1_000_000
        await stream.write(request(1, sent_ms=now_ms))
        await eventually(lambda: server.handler.texts == ["call 1"])
        # As if the server had been stopped for seven seconds: the client wrote long ago what is read only now.
        await stream.write(request(2, sent_ms=now_ms - 7_000, timeout_ms=timeout_ms))
        replies = {reply.id: reply async for reply in replies_of(stream, 2)}
        if expected == "refused":
            assert replies[2].error.code == Code.DEADLINE_EXCEEDED.value
            assert server.handler.texts == ["call 1"]
        else:
            assert not replies[2].HasField("error")
            assert server.handler.timeouts_ms[1] == pytest.approx(timeout_ms and timeout_ms - 7_000, abs=1_000)


def request(call_id: int, *, sent_ms: int, timeout_ms: int = 60_000) -> auth_pb2.AuthenticateRequest:
    call = auth_pb2.AuthenticateCall(id=call_id, api_key=f"call {call_id}", timeout_ms=timeout_ms)
    return auth_pb2.AuthenticateRequest(calls=[call], sent_ms=sent_ms)


async def replies_of(stream: Any, count: int) -> AsyncIterator[auth_pb2.AuthenticateReply]:
    """Yields so many replies."""
    while count:
        frame = await stream.read()
        for reply in frame.replies:
            count -= 1
            yield reply
