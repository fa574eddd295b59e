"""A router that stood still does not take that for the silence of its runners."""

from __future__ import annotations

import pytest

from services.common.errors import Code
from services.router.pauses import LONGEST_GAP, Pauses
from services.router.pulse import PERIOD
from services.router.routing import Limits
from services.router.runners.load import Report
from tests.unit.router.world import ManualClock, World

SETTLE = 2.0


def paused_world(seconds: float) -> World:
    """A router that stands still for so long while a request waits for a busy runner."""
    world = World(Limits(settle_seconds=SETTLE), pausing=True)
    world.up("a", slots=1, active=1)
    world.ask("waiting", timeout=30.0)
    beat(world, SETTLE * 2)
    world.clock.now += seconds
    return world


def beat(world: World, seconds: float) -> None:
    """Time passes, and the router runs."""
    end = world.clock.now + seconds
    while world.clock.now < end:
        world.clock.now += PERIOD
        world.pauses.beat()
        world.routing.tick()


@pytest.mark.parametrize("tick_first", [True, False], ids=["the pulse comes first", "the stream comes first"])
def test_who_waited_gets_the_runner_when_it_is_heard_again(*, tick_first: bool) -> None:
    world = paused_world(20.0)
    runner = world.runner("a")
    if tick_first:
        world.pauses.beat()
        world.routing.tick()
    world.table.lost(runner, "UNAVAILABLE")
    world.ask("arrives", timeout=30.0)
    beat(world, SETTLE / 2)
    assert world.answers == []
    world.table.report(runner, Report(slots=2, active=0, admitted=1))
    assert sorted(world.placed()) == [("arrives", "a"), ("waiting", "a")]


def test_a_runner_that_stays_silent_is_gone_when_it_has_had_its_time() -> None:
    world = paused_world(20.0)
    world.table.lost(world.runner("a"), "UNAVAILABLE")
    beat(world, SETTLE - 2 * PERIOD)
    assert world.answers == []
    beat(world, 4 * PERIOD)
    [(name, error)] = world.refusals()
    assert (name, error.code) == ("waiting", Code.UNAVAILABLE)
    # What comes from now on is refused at once again.
    world.ask("later")
    assert [name for name, _ in world.refusals()] == ["waiting", "later"]


def test_a_runner_that_is_lost_without_a_pause_is_gone_at_once() -> None:
    world = paused_world(LONGEST_GAP / 2)
    world.table.lost(world.runner("a"), "UNAVAILABLE")
    [(name, error)] = world.refusals()
    assert (name, error.code) == ("waiting", Code.UNAVAILABLE)


def test_the_deadline_of_a_request_passes_in_a_pause_too() -> None:
    world = paused_world(40.0)
    beat(world, SETTLE + 2 * PERIOD)
    [(name, error)] = world.refusals()
    assert (name, error.code) == ("waiting", Code.DEADLINE_EXCEEDED)


def test_a_pause_is_noticed_by_the_first_that_asks_and_counted_from_its_end() -> None:
    clock = ManualClock()
    pauses = Pauses(clock)
    assert pauses.since() is None
    clock.now += LONGEST_GAP + 0.1
    assert pauses.since() == 0
    clock.now += 0.5
    pauses.beat()
    assert pauses.since() == pytest.approx(0.5)
    clock.now += 3 * LONGEST_GAP
    pauses.beat()
    assert pauses.since() == 0
