"""A runner that takes calls and makes no progress with them is noticed, and gets few of them before."""

from __future__ import annotations

import pytest

from services.common.errors import Code, MeshError
from services.edge.paid.progress import FIRST_CALLS, TICK, ProgressWatch, WatchedCall

BOUND = 10.0


class World:
    """A watch whose time the test decides."""

    def __init__(self) -> None:
        self.now = 0.0
        self.watch = ProgressWatch(lambda: self.now)
        self.silent: list[int] = []

    def begin(self, number: int = 0, runner: str = "runner") -> WatchedCall:
        return self.watch.begin(runner, BOUND, lambda: self.silent.append(number))

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds / TICK)):
            self.now += TICK
            self.watch.look()

    def is_full(self) -> bool:
        with pytest.raises(MeshError) as caught:
            self.begin()
        return caught.value.code is Code.OVERLOADED


def test_a_call_is_told_of_once_when_its_bound_is_over() -> None:
    world = World()
    world.begin(1)
    world.pass_time(BOUND - TICK)
    assert not world.silent
    world.pass_time(2 * BOUND)
    assert world.silent == [1]


def test_every_sign_of_progress_starts_the_bound_again() -> None:
    world = World()
    call = world.begin(1)
    for _ in range(5):
        world.pass_time(BOUND - TICK)
        call.heard = True
    world.pass_time(BOUND - TICK)
    assert not world.silent
    world.pass_time(2 * TICK)
    assert world.silent == [1]


def test_a_call_that_has_ended_is_not_told_of() -> None:
    world = World()
    call = world.begin(1)
    world.watch.end(call)
    world.watch.end(call)
    world.pass_time(2 * BOUND)
    assert not world.silent


def test_a_pause_of_the_edge_is_no_silence_of_runners() -> None:
    world = World()
    world.begin(1)
    world.now += 100 * BOUND
    world.watch.look()
    assert not world.silent


def test_a_runner_of_which_nothing_was_heard_gets_a_few_calls_and_more_with_each_that_it_works_on() -> None:
    world = World()
    calls = [world.begin() for _ in range(FIRST_CALLS)]
    assert world.is_full()
    world.begin(runner="other")
    world.watch.prove(calls[0])
    # One has shown progress, and the window is twice as wide.
    more = [world.begin() for _ in range(FIRST_CALLS + 1)]
    assert world.is_full()
    for call in (*calls, *more):
        world.watch.end(call)
    for _ in range(2 * FIRST_CALLS):
        world.begin()
    assert world.is_full()


def test_after_a_silence_a_runner_gets_one_call_until_it_shows_progress() -> None:
    world = World()
    world.begin(1)
    world.pass_time(BOUND)
    again = world.begin(2)
    assert world.is_full()
    world.watch.prove(again)
    world.begin(3)
