"""Deadlines share one timer, are told once, never early, and stop costing anything when nothing is pending."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from services.common.batch.deadlines import TICK, Deadlines
from tests.support.waiting import eventually


class Recorder:
    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.told: dict[int, float] = {}
        self.deadlines = Deadlines(self.loop, self.tell)

    def tell(self, call_id: int) -> None:
        assert call_id not in self.told
        self.told[call_id] = self.loop.time()

    @property
    def idle(self) -> bool:
        return self.deadlines._timer is None and not self.deadlines._buckets


async def test_each_deadline_is_told_once_and_never_early() -> None:
    recorder = Recorder()
    now = recorder.loop.time()
    due = {call_id: now + call_id * 0.007 for call_id in range(1, 30)}
    for call_id, deadline in due.items():
        recorder.deadlines.add(call_id, deadline)
    await eventually(lambda: recorder.told.keys() == due.keys())
    assert all(recorder.told[call_id] >= deadline for call_id, deadline in due.items())
    await eventually(lambda: recorder.idle)


async def test_a_removed_deadline_is_not_told_and_the_timer_ends() -> None:
    recorder = Recorder()
    tick = recorder.deadlines.add(1, recorder.loop.time() + 600)
    recorder.deadlines.add(2, recorder.loop.time() + TICK)
    recorder.deadlines.remove(1, tick)
    await eventually(lambda: recorder.idle)
    assert recorder.told.keys() == {2}


async def test_a_deadline_in_the_past_is_told_too() -> None:
    recorder = Recorder()
    recorder.deadlines.add(1, recorder.loop.time() - 5)
    await eventually(lambda: 1 in recorder.told)
    recorder.deadlines.add(2, recorder.loop.time() - 5)
    await eventually(lambda: 2 in recorder.told)


async def test_what_is_added_while_telling_is_told_later() -> None:
    recorder = Recorder()
    later: list[int] = []

    def tell(call_id: int) -> None:
        later.append(call_id)
        if call_id < 3:
            deadlines.add(call_id + 1, recorder.loop.time())

    deadlines = Deadlines(recorder.loop, tell)
    deadlines.add(1, recorder.loop.time())
    await eventually(lambda: later == [1, 2, 3])


async def test_removing_what_was_told_is_ignored() -> None:
    recorder = Recorder()
    tick = recorder.deadlines.add(1, recorder.loop.time())
    await eventually(lambda: 1 in recorder.told)
    recorder.deadlines.remove(1, tick)


class SteppedLoop:
    """The clock and the timers of an event loop, which stand still until the test moves them."""

    def __init__(self) -> None:
        self.now = 100.0
        self._timers: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, call: Callable[[], None]) -> object:
        self._timers.append((when, call))
        return call

    def call_later(self, delay: float, call: Callable[[], None]) -> object:
        return self.call_at(self.now + delay, call)

    def advance(self, seconds: float) -> None:
        self.now += seconds
        due = [call for when, call in self._timers if when <= self.now]
        self._timers = [(when, call) for when, call in self._timers if when > self.now]
        for call in due:
            call()


def test_after_a_pause_of_the_process_what_has_come_is_read_first() -> None:
    loop: Any = SteppedLoop()
    told: list[int] = []
    deadlines = Deadlines(loop, told.append)
    answered = deadlines.add(1, loop.now + 5)
    deadlines.add(2, loop.now + 5)
    loop.advance(20.0)
    assert told == []
    # An answer that waited in the socket.
    deadlines.remove(1, answered)
    deadlines.add(3, loop.now + 5)
    loop.advance(0.3)
    assert told == [2]
    # Others are told in time again.
    for _ in range(300):
        loop.advance(TICK)
    assert told == [2, 3]


def test_a_busy_loop_delays_nothing_further() -> None:
    loop: Any = SteppedLoop()
    told: list[int] = []
    Deadlines(loop, told.append).add(1, loop.now + 0.1)
    loop.advance(0.5)
    assert told == [1]
