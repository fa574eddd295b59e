import pytest

from services.router.runners.ejection import FIRST_STALL_SECONDS
from services.router.runners.live_runner import Health
from services.router.runners.load import Report
from tests.unit.router.world import World, record

READY = Report(slots=4, active=0, admitted=0)
DRAINING = Report(slots=4, active=0, admitted=0, draining=True)


@pytest.fixture
def world() -> World:
    return World()


def serving(world: World, model: str = "small") -> list[str]:
    return [runner.id for runner in world.table.serving(model)]


def test_a_runner_serves_from_its_first_status_on(world: World) -> None:
    world.table.register(record("a", "small", "large"))
    assert world.streams.opened == [("a", 0.0)]
    assert serving(world) == []
    assert world.runner("a").state == "unknown"
    world.table.report(world.runner("a"), READY)
    assert serving(world) == serving(world, "large") == ["a"]
    assert world.runner("a").state == "ready"


def test_a_broken_stream_takes_a_runner_out_although_it_is_registered(world: World) -> None:
    runner = world.up("a")
    world.table.lost(runner, "gone")
    assert serving(world) == []
    assert runner.state == "ejected"
    world.table.report(runner, READY)
    assert serving(world) == ["a"]


def test_draining_is_believed_from_the_status_and_from_the_record(world: World) -> None:
    for by_status in (True, False):
        runner = world.up("a")
        if by_status:
            world.table.report(runner, DRAINING)
        else:
            world.table.register(record("a", state="draining"))
        assert serving(world) == []
        assert runner.state == "draining"
        world.table.report(runner, READY)
        world.table.register(record("a"))
        assert serving(world) == ["a"]


def test_an_operator_drains_a_runner_whenever_it_registers(world: World) -> None:
    world.table.replace_drained({"a", "gone"})
    runner = world.up("a")
    assert (serving(world), runner.state) == ([], "drained")
    # What the runner says itself is shown first: it ends.
    world.table.report(runner, DRAINING)
    assert runner.state == "draining"
    world.table.report(runner, READY)
    world.table.register(record("a"))
    assert serving(world) == []
    world.table.set_drained("a", drained=False)
    assert (serving(world), runner.state) == (["a"], "ready")
    world.table.set_drained("a", drained=True)
    assert serving(world) == []
    world.table.replace_drained(set())
    assert serving(world) == ["a"]


def test_a_living_runner_outlives_its_record(world: World) -> None:
    world.up("a")
    world.table.unregister("a")
    assert serving(world) == ["a"]
    world.clock.now += 59
    assert world.table.unregistered_for(60) == []
    world.clock.now += 1
    assert [runner.id for runner in world.table.unregistered_for(60)] == ["a"]
    world.table.register(record("a"))
    assert world.table.unregistered_for(0) == []


def test_an_emptied_etcd_keeps_the_living_and_drops_the_others(world: World) -> None:
    world.up("alive")
    world.table.lost(world.up("dead"), "gone")
    world.table.report(world.up("draining"), DRAINING)
    world.table.register(record("never-heard"))
    world.table.replace([])
    assert world.ids() == ["alive"]


@pytest.mark.parametrize("after", ["lost", "draining"])
def test_an_unregistered_runner_goes_when_it_dies_or_drains(world: World, after: str) -> None:
    runner = world.up("a")
    world.table.unregister("a")
    if after == "lost":
        world.table.lost(runner, "gone")
    else:
        world.table.report(runner, DRAINING)
    assert world.ids() == []
    assert world.streams.closed == ["a"]


def test_a_failed_request_ejects_until_a_fresh_status_comes(world: World) -> None:
    runner = world.up("a")
    world.table.fail("a")
    assert serving(world) == []
    assert runner.state == "ejected"
    assert world.streams.opened[-1] == ("a", 0.5)
    # Other requests that failed at the same moment are not further failures.
    opened = list(world.streams.opened)
    world.table.fail("a")
    assert world.streams.opened == opened
    world.table.report(runner, READY)
    assert serving(world) == ["a"]
    world.table.fail("a")
    assert world.streams.opened[-1] == ("a", 1.0)


def test_a_runner_that_makes_no_progress_is_out_for_long_after_the_second_report(world: World) -> None:
    runner = world.up("a")
    world.table.stall("a")
    assert world.streams.opened[-1] == ("a", 0.5)
    # One that it took before it was ejected.
    world.table.stall("a")
    assert world.streams.opened[-1] == ("a", FIRST_STALL_SECONDS)
    assert (serving(world), runner.state) == ([], "ejected")


def test_an_ejected_runner_without_a_record_gets_its_chance(world: World) -> None:
    runner = world.up("a")
    world.table.fail("a")
    world.table.unregister("a")
    assert runner.health is Health.PROBING
    world.table.report(runner, READY)
    assert serving(world) == ["a"]


def test_registering_again_ends_a_back_off(world: World) -> None:
    world.table.lost(world.up("a"), "gone")
    world.table.register(record("a"))
    assert world.streams.opened == [("a", 0.0), ("a", 0.0)]


def test_a_new_address_is_a_new_process(world: World) -> None:
    old = world.up("a")
    world.table.register(record("a", address="elsewhere:1"))
    assert world.runner("a") is not old
    assert world.streams.closed == ["a"]
    assert serving(world) == []
    assert world.runner("a").state == "unknown"


def test_unknown_runners_are_ignored(world: World) -> None:
    world.table.unregister("x")
    world.table.fail("x")
    world.table.stall("x")
    world.table.refuse("x")
    assert world.ids() == []


def test_listeners_hear_of_room_but_not_of_a_full_runner(world: World) -> None:
    runner = world.up("a", slots=2)
    heard: list[int] = []
    world.table.on_change = lambda: heard.append(1)
    world.table.report(runner, Report(slots=2, active=2, admitted=2))
    assert not heard
    world.table.report(runner, Report(slots=2, active=1, admitted=2))
    assert heard
