"""Calls may wait long at a server that shows life, and not at one that does not."""

from __future__ import annotations

import asyncio
from typing import Any

from services.common.errors import Code
from tests.support.batch_echo import EchoServer, ask, echo_client
from tests.support.ports import free_address
from tests.support.waiting import eventually

# Not so short that a busy machine is silent without meaning it.
SILENCE = 1.0


async def test_a_server_that_is_not_heard_is_given_up_before_the_deadline() -> None:
    told: list[Any] = []
    async with EchoServer() as server, echo_client(server.address, silence=SILENCE) as client:
        await client.request(ask("connect"), 5.0)
        call_id = client.start(ask("hold"), told.append, 600.0)
        await eventually(lambda: bool(told))
        assert told[0].code is Code.UNAVAILABLE
        assert told[0].message == "echo does not answer; try again shortly"
        await eventually(lambda: server.handler.cancels == [call_id])
        # It is asked again, as there is no other.
        assert (await client.request(ask("after"), 5.0)).account_id == "after"


async def test_a_server_that_shows_life_may_take_its_time() -> None:
    told: list[Any] = []
    loop = asyncio.get_running_loop()
    async with EchoServer() as server, echo_client(server.address, silence=SILENCE) as client:
        await client.request(ask("connect"), 5.0)
        client.start(ask("hold"), told.append, 600.0)
        await eventually(lambda: bool(server.handler.held))
        (stream, _) = server.handler.held[2]
        started = loop.time()

        def has_waited() -> bool:
            stream.show_life()
            return loop.time() - started > 2 * SILENCE

        await eventually(has_waited)
        assert told == []
        server.handler.release()
        await eventually(lambda: bool(told))
        assert told[0].account_id == "hold"


async def test_calls_move_away_from_a_replica_that_has_fallen_silent() -> None:
    told: list[Any] = []
    async with (
        EchoServer() as silent,
        EchoServer(holds=False) as other,
        echo_client(silent.address, other.address, silence=SILENCE) as client,
    ):
        await eventually(lambda: all(lane.state.name == "READY" for lane in client._lanes))
        for _ in range(10):
            client.start(ask("hold"), told.append, 600.0)
        await eventually(lambda: len(told) == 10)
        assert {reply.account_id for reply in told} == {"hold"}
        assert len(silent.handler.cancels) == 5
        # New calls avoid it.
        for number in range(5):
            await client.request(ask(f"call {number}"), 5.0)
        assert len(silent.handler.texts) == 5


async def test_a_call_without_a_server_fails_as_soon() -> None:
    told: list[Any] = []
    async with echo_client(free_address(), silence=SILENCE) as client:
        client.start(ask("hello"), told.append, 600.0)
        await eventually(lambda: bool(told))
        assert told[0].code is Code.UNAVAILABLE


async def test_the_deadline_may_come_first() -> None:
    told: list[Any] = []
    async with EchoServer() as server, echo_client(server.address, silence=600.0) as client:
        await client.request(ask("connect"), 5.0)
        client.start(ask("hold"), told.append, 0.1)
        await eventually(lambda: bool(told))
        assert told[0].code is Code.DEADLINE_EXCEEDED
