"""What the simulation promises of processes and connections."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from tests.simulator.machine.loop import Process, StuckError, VirtualLoop, new_loop
from tests.simulator.machine.network import End, Network


class Listener:
    """Keeps what comes, with its time."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self.items: list[Any] = []
        self.times: list[float] = []
        self.is_lost = False

    def received(self, item: Any) -> None:
        self.items.append(item)
        self.times.append(self._loop.time())

    def lost(self) -> None:
        self.is_lost = True


class Pair:
    """Two processes and a connection from the first to the second."""

    def __init__(self, seed: int = 1) -> None:
        self.loop = new_loop()
        self.network = Network(self.loop, random.Random(seed))
        self.client, self.server = self.loop.process("client"), self.loop.process("server")
        self.heard = Listener(self.loop)
        self.network.listen("server:1", self.server, lambda _: self.heard)

    def connect(self) -> tuple[End, Listener]:
        mine = Listener(self.loop)
        return self.network.connect(self.client, "server:1", mine), mine


@pytest.mark.parametrize("seed", range(5))
def test_a_connection_keeps_the_order(seed: int) -> None:
    pair = Pair(seed)

    async def send() -> None:
        end, _ = pair.connect()
        for number in range(50):
            end.send(number)
        await asyncio.sleep(60)

    pair.loop.run(send())
    assert pair.heard.items == list(range(50))
    assert len(set(pair.heard.times)) > 1


def test_a_process_that_was_stopped_finds_messages_and_timers_at_once() -> None:
    pair = Pair()
    ticks: list[float] = []

    async def tick() -> None:
        while True:
            await asyncio.sleep(1)
            ticks.append(pair.loop.time() - began)

    async def stop() -> None:
        pair.loop.spawn(pair.server, tick())
        end, _ = pair.connect()
        await asyncio.sleep(2.5)
        pair.loop.stop_process(pair.server)
        end.send("meanwhile")
        await asyncio.sleep(4)
        pair.loop.continue_process(pair.server, timers_first=False)
        await asyncio.sleep(1.5)

    began = pair.loop.time()
    pair.loop.run(stop())
    assert ticks == [1, 2, 6.5, 7.5]
    assert pair.heard.times == [began + 6.5]


def test_a_process_that_was_killed_does_nothing_more_and_its_peers_hear_of_it() -> None:
    pair = Pair()
    done: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(2)
        finally:
            pair.loop.call_soon(done.append, "cleaned up")

    async def kill() -> None:
        pair.loop.spawn(pair.server, work())
        _, mine = pair.connect()
        await asyncio.sleep(1)
        pair.loop.kill(pair.server)
        pair.network.bury(pair.server, killed=True)
        await asyncio.sleep(5)
        assert mine.is_lost
        refused, late = pair.connect()
        assert refused.closed
        await asyncio.sleep(1)
        assert late.is_lost

    pair.loop.run(kill())
    assert not done


def test_what_is_held_up_comes_later_and_what_is_cut_never() -> None:
    pair = Pair()

    async def hold() -> None:
        end, mine = pair.connect()
        pair.network.hold("client", "server", 3)
        end.send("held up")
        await asyncio.sleep(2.9)
        assert not pair.heard.items
        await asyncio.sleep(0.5)
        assert pair.heard.items == ["held up"]
        end.send("cut off")
        pair.network.cut("client", "server")
        await asyncio.sleep(1)
        assert pair.heard.items == ["held up"]
        assert pair.heard.is_lost
        assert mine.is_lost

    pair.loop.run(hold())


def test_what_can_never_go_on_is_told() -> None:
    loop = new_loop()
    with pytest.raises(StuckError):
        loop.run(asyncio.Event().wait())


def test_tasks_belong_to_the_process_that_starts_them() -> None:
    loop = new_loop()
    process = loop.process("process")
    found: list[Process] = []

    async def inner() -> None:
        await asyncio.sleep(1)
        found.append(process)

    async def outer() -> None:
        await asyncio.create_task(inner())

    async def run() -> None:
        loop.spawn(process, outer())
        loop.stop_process(process)
        await asyncio.sleep(5)

    loop.run(run())
    assert not found
