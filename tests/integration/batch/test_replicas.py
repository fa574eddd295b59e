"""Two replicas of one service: load is spread, and calls of the one that dies move to the other."""

from __future__ import annotations

import asyncio
from typing import Any

from services.common.errors import Code
from tests.support.batch_echo import EchoClient, EchoServer, ask, echo_client
from tests.support.waiting import eventually


async def connect_to_both(client: EchoClient) -> None:
    await eventually(lambda: all(lane.state.name == "READY" for lane in client._lanes))


async def test_load_is_spread_over_replicas() -> None:
    async with EchoServer() as one, EchoServer() as two, echo_client(one.address, two.address) as client:
        await connect_to_both(client)
        for _ in range(100):
            client.start(ask("hold"), lambda _: None, 5.0)
        await eventually(lambda: len(one.handler.held) == len(two.handler.held) == 50)


async def test_new_calls_avoid_a_replica_that_does_not_answer() -> None:
    async with EchoServer() as stuck, EchoServer() as well, echo_client(stuck.address, well.address) as client:
        await connect_to_both(client)
        for _ in range(2):
            client.start(ask("hold"), lambda _: None, 5.0)
        await eventually(lambda: len(stuck.handler.held) == len(well.handler.held) == 1)
        well.handler.release()
        await eventually(lambda: client.pending == 1)
        for number in range(20):
            await client.request(ask(f"call {number}"), 5.0)
        assert len(stuck.handler.texts) == 1


async def test_calls_move_to_the_other_replica_when_one_dies() -> None:
    told: dict[str, list[Any]] = {f"hold {number}": [] for number in range(60)}
    async with EchoServer() as dying, EchoServer() as other, echo_client(dying.address, other.address) as client:
        await connect_to_both(client)
        for text, sink in told.items():
            client.start(ask(text), sink.append, 20.0)
        await eventually(lambda: len(dying.handler.held) == 30)
        await dying.break_off()
        await eventually(lambda: len(other.handler.held) == 60)
        other.handler.release()
        await eventually(lambda: client.pending == 0)
        assert all([reply.account_id for reply in replies] == [text] for text, replies in told.items())
        assert sorted(other.handler.texts) == sorted(told)


async def test_without_retry_only_the_calls_of_the_dead_replica_fail() -> None:
    told: list[Any] = []
    async with (
        EchoServer() as dying,
        EchoServer() as other,
        echo_client(dying.address, other.address, retry=False) as client,
    ):
        await connect_to_both(client)
        for _ in range(20):
            client.start(ask("hold"), told.append, 20.0)
        await eventually(lambda: len(dying.handler.held) == len(other.handler.held) == 10)
        await dying.break_off()
        await eventually(lambda: len(told) == 10)
        assert {error.code for error in told} == {Code.UNAVAILABLE}
        other.handler.release()
        await eventually(lambda: len(told) == 20)
        assert [reply.account_id for reply in told[10:]] == ["hold"] * 10


async def test_a_replica_that_comes_back_is_used_again() -> None:
    late = EchoServer()
    async with EchoServer() as server, echo_client(server.address, late.address) as client:
        await client.request(ask("only one is there"), 5.0)
        async with late:
            await connect_to_both(client)
            answers = [client.request(ask(f"call {number}"), 5.0) for number in range(10)]
            await asyncio.gather(*answers)
            assert len(late.handler.texts) == 5


async def test_a_new_replica_gets_its_share() -> None:
    async with EchoServer() as one, EchoServer() as two, echo_client(one.address) as client:
        await connect_to_both(client)
        client.set_addresses([one.address, two.address])
        await connect_to_both(client)
        for _ in range(20):
            client.start(ask("hold"), lambda _: None, 5.0)
        await eventually(lambda: len(one.handler.held) == len(two.handler.held) == 10)


async def test_a_replica_that_is_not_wanted_any_more_answers_what_it_has_and_gets_nothing_new() -> None:
    told: list[Any] = []
    async with EchoServer() as old, EchoServer() as new, echo_client(old.address) as client:
        client.start(ask("hold"), told.append, 20.0)
        await eventually(lambda: len(old.handler.held) == 1)
        client.set_addresses([new.address])
        for number in range(10):
            await client.request(ask(f"call {number}"), 5.0)
        assert (len(old.handler.texts), len(new.handler.texts)) == (1, 10)
        old.handler.release()
        await eventually(lambda: len(told) == 1)
        assert told[0].account_id == "hold"
        # Its lane ends by itself.
        await eventually(lambda: sum(not task.done() for task in client._tasks) == 1)


async def test_what_an_unwanted_replica_cannot_answer_moves() -> None:
    told: list[Any] = []
    async with EchoServer() as old, EchoServer() as new, echo_client(old.address) as client:
        client.start(ask("hold"), told.append, 20.0)
        await eventually(lambda: len(old.handler.held) == 1)
        client.set_addresses([new.address])
        await connect_to_both(client)
        await old.break_off()
        await eventually(lambda: len(new.handler.held) == 1)
        new.handler.release()
        await eventually(lambda: len(told) == 1)
