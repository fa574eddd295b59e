"""A draining server answers what it has, is sent nothing new, and ends as soon as it can."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.common.errors import Code, MeshError
from tests.support.batch_echo import EchoClient, EchoServer, ask, echo_client
from tests.support.batch_tokens import Answer, TokenServer, count_to, token_client
from tests.support.deadlines import within
from tests.support.waiting import eventually


def state(client: EchoClient, lane: int = 0) -> str:
    return client._lanes[lane].state.name


async def test_pending_calls_are_answered_and_new_ones_go_to_the_other_replica() -> None:
    async with (
        EchoServer() as leaving,
        EchoServer() as staying,
        echo_client(leaving.address, staying.address) as client,
    ):
        await eventually(lambda: state(client, 0) == state(client, 1) == "READY")
        pending = [asyncio.create_task(client.request(ask("hold"), 10.0)) for _ in range(10)]
        await eventually(lambda: len(leaving.handler.held) == len(staying.handler.held) == 5)
        drained = asyncio.create_task(leaving.batch.drain(10.0))
        await eventually(lambda: state(client, 0) == "DRAINING")
        for number in range(20):
            await client.request(ask(f"new {number}"), 5.0)
        assert leaving.handler.texts == ["hold"] * 5
        assert not drained.done()
        leaving.handler.release()
        staying.handler.release()
        await asyncio.gather(*pending)
        await drained


async def test_new_calls_wait_for_the_successor_of_the_only_replica() -> None:
    server = EchoServer()
    async with echo_client(server.address) as client:
        await server.start()
        pending = asyncio.create_task(client.request(ask("hold"), 10.0))
        await eventually(lambda: bool(server.handler.held))
        stopped = asyncio.create_task(server.stop(10.0))
        await eventually(lambda: state(client) == "DRAINING")
        new = asyncio.create_task(client.request(ask("new"), 10.0))
        await eventually(lambda: client.pending == 2)
        server.handler.release()
        assert (await pending).account_id == "hold"
        await stopped
        assert server.handler.texts == ["hold"]
        async with EchoServer(server.address):
            assert (await new).account_id == "new"


async def test_calls_that_must_not_wait_are_refused_while_the_only_replica_drains() -> None:
    async with TokenServer() as server, token_client(server.address) as client:
        running, refused = Answer(), Answer()
        client.start(count_to(2), running, 10.0)
        await eventually(lambda: bool(server.handler.running))
        drained = asyncio.create_task(server.batch.drain(10.0))
        await eventually(lambda: not client.connected)
        client.start(count_to(2), refused, 60.0)
        assert refused.ends == []
        async with within(1.0):
            await refused.ended.wait()
        assert (refused.ends[0].code, refused.ends[0].message) == (
            Code.UNAVAILABLE,
            "tokens is shutting down; try again shortly",
        )
        server.handler.step()
        server.handler.step()
        await running.ended.wait()
        assert running.numbers == [0, 1]
        await drained


async def test_an_idle_server_drains_at_once() -> None:
    server = EchoServer()
    async with echo_client(server.address) as first, echo_client(server.address) as second:
        await server.start()
        await asyncio.gather(first.request(ask("one"), 5.0), second.request(ask("two"), 5.0))
        async with within(2.0):
            await server.stop(30.0)


@pytest.mark.parametrize("end", ["cancel", "expire"])
async def test_a_server_ends_when_its_last_call_is_withdrawn(end: str) -> None:
    server = EchoServer()
    async with echo_client(server.address) as client:
        await server.start()
        call_id = client.start(ask("hold"), lambda _: None, 0.3 if end == "expire" else 10.0)
        await eventually(lambda: bool(server.handler.held))
        stopped = asyncio.create_task(server.stop(30.0))
        await eventually(lambda: state(client) == "DRAINING")
        if end == "cancel":
            client.cancel(call_id)
        async with within(2.0):
            await stopped
        assert server.handler.cancels == [call_id]


async def test_a_server_waits_no_longer_than_it_was_told() -> None:
    told: list[Any] = []
    server = EchoServer()
    async with echo_client(server.address, retry=False) as client:
        await server.start()
        client.start(ask("hold"), told.append, 60.0)
        await eventually(lambda: bool(server.handler.held))
        async with within(5.0):
            await server.stop(0.1)
        await eventually(lambda: [error.code for error in told] == [Code.UNAVAILABLE])


async def test_a_client_that_connects_to_a_draining_server_sends_it_nothing() -> None:
    async with EchoServer() as server:
        await server.batch.drain(0.0)
        async with echo_client(server.address) as client:
            with pytest.raises(MeshError, match="cannot be reached"):
                await client.request(ask("too late"), 0.5)
            assert not client.connected
        assert server.handler.texts == []
        async with within(2.0):
            await server.batch.drain(30.0)
