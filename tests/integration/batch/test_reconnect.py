"""A server process that crashes: idempotent calls are answered by its successor, others fail at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from prometheus_client import REGISTRY

from services.common.errors import Code, MeshError
from tests.support.batch_echo import EchoServer, ask, echo_client
from tests.support.batch_echo_server import EchoProcess
from tests.support.deadlines import within
from tests.support.ports import free_address
from tests.support.waiting import eventually


async def test_calls_in_flight_when_a_server_is_killed_are_answered_once_by_its_successor() -> None:
    told: dict[str, list[Any]] = {f"hold {number}": [] for number in range(300)}
    async with EchoProcess(free_address()) as server, echo_client(server.address, name="killed") as client:
        await client.request(ask("connect"), 10.0)
        for text, sink in told.items():
            client.start(ask(text), sink.append, 30.0)
        # This answer comes after the held calls have been read.
        await client.request(ask("after"), 10.0)
        await server.kill()
        await eventually(lambda: not client.connected)
        parked = asyncio.create_task(client.request(ask("started while down"), 30.0))
        await server.start(holds=False)
        await eventually(lambda: all(told.values()))
        assert (await parked).account_id == "started while down"
        assert {text: [reply.account_id for reply in replies] for text, replies in told.items()} == {
            text: [text] for text in told
        }
        assert client.pending == 0
        assert REGISTRY.get_sample_value("tiermesh_batch_retried_total", {"stream": "killed"}) == 300


async def test_a_retried_call_keeps_its_deadline() -> None:
    server = EchoServer()
    async with echo_client(server.address) as client:
        await server.start()
        answer = asyncio.create_task(client.request(ask("hold"), 0.5))
        await eventually(lambda: bool(server.handler.held))
        await server.break_off()
        async with EchoServer(server.address) as successor:
            with pytest.raises(MeshError) as caught:
                await answer
            assert caught.value.code in {Code.DEADLINE_EXCEEDED, Code.UNAVAILABLE}
            assert all(timeout < 500 for timeout in successor.handler.timeouts_ms)


async def test_calls_that_must_not_be_repeated_fail_at_once_when_their_server_is_killed() -> None:
    told: list[Any] = []
    async with EchoProcess(free_address()) as server, echo_client(server.address, retry=False) as client:
        await client.request(ask("connect"), 10.0)
        for _ in range(50):
            client.start(ask("hold"), told.append, 60.0)
        await client.request(ask("after"), 10.0)
        await server.kill()
        await eventually(lambda: len(told) == 50, timeout=3.0)
        assert {(error.code, error.retry_after) for error in told} == {(Code.UNAVAILABLE, 1.0)}
        await server.start(holds=False)
        await eventually(lambda: client.connected)
        assert (await client.request(ask("again"), 10.0)).account_id == "again"
        assert len(told) == 50


async def test_calls_that_must_not_be_repeated_fail_at_once_when_connecting_is_refused() -> None:
    async with echo_client(free_address(), retry=False) as client:
        async with within(3.0):
            with pytest.raises(MeshError, match="try again shortly") as caught:
                await client.request(ask("nobody"), 60.0)
        assert caught.value.code is Code.UNAVAILABLE


async def test_a_client_reconnects_however_long_the_server_was_away() -> None:
    server = EchoServer()
    async with echo_client(server.address) as client:
        with pytest.raises(MeshError):
            await client.request(ask("too early"), 1.5)
        async with server:
            await eventually(lambda: client.connected, timeout=3.0)
        await eventually(lambda: not client.connected, timeout=3.0)
        async with EchoServer(server.address):
            await eventually(lambda: client.connected, timeout=3.0)


async def test_a_drained_process_exits_with_0_and_its_client_waits_for_the_next() -> None:
    async with EchoProcess(free_address()) as server, echo_client(server.address) as client:
        await client.request(ask("connect"), 10.0)
        assert await server.terminate() == 0
        answer = asyncio.create_task(client.request(ask("waiting"), 30.0))
        await server.start()
        assert (await answer).account_id == "waiting"
