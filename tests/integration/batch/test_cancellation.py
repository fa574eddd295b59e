"""A cancelled call is never heard of again by its sink, and at most once by the server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.common.errors import MeshError
from tests.support.batch_echo import EchoServer, ask, echo_client
from tests.support.batch_tokens import Answer, TokenServer, count_to, token_client
from tests.support.waiting import eventually


async def test_a_call_cancelled_before_it_is_sent_is_never_sent() -> None:
    told: list[Any] = []
    async with EchoServer() as server, echo_client(server.address) as client:
        await client.request(ask("connect"), 5.0)
        client.cancel(client.start(ask("withdrawn"), told.append, 5.0))
        await client.request(ask("after"), 5.0)
        assert server.handler.texts == ["connect", "after"]
        assert (server.handler.cancels, told, client.pending) == ([], [], 0)


async def test_a_call_cancelled_while_parked_is_never_sent() -> None:
    told: list[Any] = []
    server = EchoServer()
    async with echo_client(server.address) as client:
        client.cancel(client.start(ask("withdrawn"), told.append, 5.0))
        async with server:
            await client.request(ask("after"), 5.0)
            assert server.handler.texts == ["after"]
            assert (server.handler.cancels, told) == ([], [])


async def test_a_call_cancelled_in_flight_is_cancelled_once_at_the_server() -> None:
    told: list[Any] = []
    async with EchoServer() as server, echo_client(server.address) as client:
        call_id = client.start(ask("hold"), told.append, 5.0)
        await eventually(lambda: call_id in server.handler.held)
        client.cancel(call_id)
        client.cancel(call_id)
        await eventually(lambda: server.handler.cancels == [call_id])
        await client.request(ask("after"), 5.0)
        assert (server.handler.cancels, told, client.pending) == ([call_id], [], 0)


async def test_replies_that_cross_with_a_cancel_are_dropped() -> None:
    async with TokenServer() as server, token_client(server.address) as client:
        answer = Answer()
        call_id = client.start(count_to(10), answer, 5.0)
        await eventually(lambda: bool(server.handler.running))
        server.handler.step()
        await eventually(lambda: answer.numbers == [0])
        server.handler.step()
        client.cancel(call_id)
        await eventually(lambda: server.handler.cancels == [call_id])
        assert (answer.numbers, answer.ends) == ([0], [])


async def test_a_cancel_after_the_last_reply_is_not_sent() -> None:
    told: list[Any] = []
    async with EchoServer() as server, echo_client(server.address) as client:
        call_id = client.start(ask("quick"), told.append, 5.0)
        await eventually(lambda: len(told) == 1)
        client.cancel(call_id)
        await client.request(ask("after"), 5.0)
        assert (server.handler.cancels, len(told)) == ([], 1)


async def test_cancelling_the_task_that_awaits_a_request_cancels_the_call() -> None:
    async with EchoServer() as server, echo_client(server.address) as client:
        task = asyncio.create_task(client.request(ask("hold"), 5.0))
        await eventually(lambda: bool(server.handler.held))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await eventually(lambda: len(server.handler.cancels) == 1)
        assert client.pending == 0


async def test_a_task_cancelled_in_the_turn_of_its_answer_sends_no_cancel() -> None:
    async with EchoServer() as server, echo_client(server.address) as client:
        task = asyncio.create_task(client.request(ask("hold"), 5.0))
        await eventually(lambda: bool(server.handler.held))
        server.handler.release()
        while client.pending:  # noqa: ASYNC110 - the very turn of the answer is what is tested
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await client.request(ask("after"), 5.0)
        assert server.handler.cancels == []


async def test_a_sink_may_cancel_and_start_calls() -> None:
    answers: list[Any] = []
    async with EchoServer() as server, echo_client(server.address) as client:
        other = client.start(ask("hold"), lambda _: pytest.fail("it was cancelled"), 5.0)

        def sink(reply: Any) -> None:
            assert not isinstance(reply, MeshError)
            client.cancel(other)
            client.start(ask("second"), answers.append, 5.0)

        client.start(ask("first"), sink, 5.0)
        await eventually(lambda: [reply.account_id for reply in answers] == ["second"])
        assert client.pending == 0
