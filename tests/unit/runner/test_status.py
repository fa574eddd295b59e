"""What routers hear of a runner's load, and when. Time is virtual."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from typing import Any, cast

import pytest

from services.router.runners.load import Load, Report
from services.runner.engines.base import AnyEngine
from services.runner.status import FIRST_PATIENCE, INTERVAL, PATIENCE, StatusBoard
from tests.simulator.machine.loop import new_loop
from tiermesh.runner.v1.runner_pb2 import WatchStatusResponse

# For what takes no time by itself.
_MOMENT = 0.001


class Engine:
    """Slots that a test fills and frees."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.active = 0


class Runner:
    """A runner's board, and everything that one router has heard of it, with the time."""

    def __init__(self, slots: int) -> None:
        self.engine = Engine(slots)
        self.board = StatusBoard("runner", cast("AnyEngine", self.engine))
        self.heard: list[tuple[float, WatchStatusResponse]] = []

    async def listen(self) -> None:
        async for status in self.board.watch():
            self.heard.append((asyncio.get_running_loop().time(), status))

    def grow_up(self) -> None:
        """Admits as many requests as it has slots, which end."""
        for _ in range(self.engine.slots):
            self.begin()
            self.end()

    def begin(self, count: int = 1) -> None:
        for _ in range(count):
            self.engine.active += 1
            self.board.admitted()

    def end(self, count: int = 1) -> None:
        for _ in range(count):
            self.engine.active -= 1
            self.board.changed()

    async def quiet(self) -> int:
        """Waits until nothing more is told; returns how many statuses were heard until then."""
        await asyncio.sleep(2 * PATIENCE)
        return len(self.heard)

    async def told_after(self, seconds: float) -> WatchStatusResponse | None:
        """Returns what was told within so many seconds from now, if anything was."""
        before = len(self.heard)
        await asyncio.sleep(seconds + _MOMENT)
        return self.heard[-1][1] if len(self.heard) > before else None


def run(work: Coroutine[Any, Any, None]) -> None:
    new_loop().run(work)


@pytest.fixture
def runner() -> Runner:
    return Runner(slots=16)


def test_the_first_status_comes_at_once(runner: Runner) -> None:
    async def test() -> None:
        listening = asyncio.create_task(runner.listen())
        assert (told := await runner.told_after(0.0)) is not None
        assert (told.runner_id, told.slots, told.active, told.admitted) == ("runner", 16, 0, 0)
        listening.cancel()

    run(test())


def test_small_changes_are_told_together(runner: Runner) -> None:
    async def test() -> None:
        runner.grow_up()
        listening = asyncio.create_task(runner.listen())
        before = await runner.quiet()
        for _ in range(10):
            runner.begin()
            await asyncio.sleep(0.01)
            runner.end()
            await asyncio.sleep(0.01)
        assert await runner.quiet() <= before + 3
        assert (runner.heard[-1][1].active, runner.heard[-1][1].admitted) == (0, 26)
        listening.cancel()

    run(test())


def test_the_first_requests_of_a_runner_are_told_at_once(runner: Runner) -> None:
    """Until edges have seen it make progress, those that it was not given yet wait for a status."""

    async def test() -> None:
        listening = asyncio.create_task(runner.listen())
        for number in range(runner.engine.slots):
            await runner.quiet()
            runner.begin()
            assert (told := await runner.told_after(0.0)) is not None
            assert told.admitted == number + 1
            runner.end()
        listening.cancel()

    run(test())


def test_at_its_first_requests_a_runner_is_heard_of_again_and_again(runner: Runner) -> None:
    """An edge may have told the router that the runner is full, and just missed what was told before."""

    async def test() -> None:
        listening = asyncio.create_task(runner.listen())
        await runner.quiet()
        runner.begin(4)
        assert await runner.told_after(INTERVAL) is not None
        for _ in range(3):
            assert (told := await runner.told_after(FIRST_PATIENCE)) is not None
            assert (told.active, told.admitted) == (4, 4)
        runner.end(4)
        assert await runner.told_after(INTERVAL) is not None
        # One at rest, and one that was believed long ago, have nothing to repeat.
        assert await runner.told_after(PATIENCE) is None
        runner.grow_up()
        await runner.quiet()
        runner.begin()
        assert await runner.told_after(PATIENCE) is not None
        assert await runner.told_after(PATIENCE) is None
        listening.cancel()

    run(test())


@pytest.mark.parametrize(
    ("slots", "active", "begin", "end"),
    [
        # It is full now, or is not any more.
        (1, 0, 1, 0),
        (1, 1, 0, 1),
        (16, 15, 1, 0),
        (16, 16, 0, 1),
        # A router that counts what has begun would take it for full.
        (1, 0, 1, 1),
        (2, 1, 1, 1),
        (16, 14, 2, 1),
        # A quarter of the slots has changed hands.
        (16, 0, 4, 0),
        (16, 8, 0, 4),
        (16, 0, 4, 4),
        (256, 100, 64, 32),
    ],
)
def test_what_would_mislead_a_router_is_told_at_once(slots: int, active: int, begin: int, end: int) -> None:
    async def test() -> None:
        runner = Runner(slots)
        runner.grow_up()
        runner.begin(active)
        listening = asyncio.create_task(runner.listen())
        await runner.quiet()
        runner.begin(begin)
        runner.end(end)
        assert (told := await runner.told_after(0.0)) is not None
        assert (told.active, told.admitted) == (active + begin - end, slots + active + begin)
        listening.cancel()

    run(test())


def test_a_drain_and_new_slots_are_told_at_once(runner: Runner) -> None:
    async def test() -> None:
        listening = asyncio.create_task(runner.listen())
        await runner.quiet()
        runner.board.drain()
        assert (told := await runner.told_after(0.0)) is not None
        assert told.state == WatchStatusResponse.STATE_DRAINING
        await runner.quiet()
        runner.engine.slots = 17
        runner.board.changed()
        assert (told := await runner.told_after(0.0)) is not None
        assert told.slots == 17
        listening.cancel()

    run(test())


@pytest.mark.parametrize("seed", range(20))
def test_a_router_is_never_wrong_for_long(seed: int) -> None:
    async def test() -> None:
        chance = random.Random(seed)
        slots = chance.choice((1, 2, 3, 8, 64))
        runner, load = Runner(slots), Load(slots)
        listening = asyncio.create_task(runner.listen())
        await asyncio.sleep(_MOMENT)
        heard, wrong_since, clock = 0, 0.0, asyncio.get_running_loop().time
        pause = chance.choice((0.002, 0.02, 0.2))
        for _ in range(600):
            if runner.engine.active < slots and chance.random() < 0.5:
                load.place(clock())
                runner.begin()
            elif runner.engine.active:
                runner.end()
            await asyncio.sleep(chance.random() * pause)
            for _, status in runner.heard[heard:]:
                load.report(Report(slots=status.slots, active=status.active, admitted=status.admitted))
            heard = len(runner.heard)
            believed, truth = load.current(clock()), runner.engine.active
            is_wrong = abs(believed - truth) >= max(2, slots // 4) or load.has_room(clock()) != (truth < slots)
            wrong_since = (wrong_since or clock()) if is_wrong else 0.0
            assert not wrong_since or clock() - wrong_since <= INTERVAL + 2 * pause, (believed, truth, slots)
        await runner.quiet()
        assert runner.heard[-1][1].active == runner.engine.active
        listening.cancel()

    run(test())
