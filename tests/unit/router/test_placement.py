import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import pytest

from services.router.placement import Lack, Needs
from services.router.runners.live_runner import LiveRunner
from services.router.runners.load import FULL_LIFE, PLACEMENT_LIFE, Load, Report
from tests.unit.router.world import World, record

SMALL = Needs("small")


def choose(world: World, needs: Needs = SMALL) -> str:
    outcome = world.placement.choose(needs)
    assert isinstance(outcome, LiveRunner)
    return outcome.id


def test_two_choices_keep_the_loads_close_together() -> None:
    world = World()
    for number in range(50):
        world.up(f"r{number}", slots=1000)
    counts = Counter(choose(world) for _ in range(5000))
    assert len(counts) == 50
    # One random choice would spread about from 75 to 125; two stay within log log n of the mean.
    assert max(counts.values()) - 100 <= 5
    assert 100 - min(counts.values()) <= 10


def test_load_is_weighed_by_slots() -> None:
    world = World()
    world.up("big", slots=240, admitted=1000)
    world.up("little", slots=80, admitted=1000)
    counts = Counter(choose(world) for _ in range(200))
    assert counts["big"] == 150


def test_slots_that_no_admission_bears_out_attract_no_more_than_a_few_would() -> None:
    world = World()
    world.up("boaster", slots=1_000_000)
    world.up("honest", slots=8)
    counts = Counter(choose(world) for _ in range(16))
    assert counts["honest"] == 8


def test_of_two_the_less_loaded_is_chosen() -> None:
    world = World()
    world.up("busy", active=3)
    world.up("idle", active=0)
    assert [choose(world) for _ in range(3)] == ["idle"] * 3


def test_a_full_runner_is_never_chosen_while_another_has_room() -> None:
    world = World()
    for number in range(20):
        world.up(f"full{number}", slots=1, active=1)
    world.up("free", slots=3)
    assert [choose(world) for _ in range(3)] == ["free"] * 3
    assert world.placement.choose(SMALL) is Lack.BUSY


def test_a_runner_that_refused_is_full_until_it_says_otherwise() -> None:
    world = World()
    runner = world.up("a")
    assert choose(world) == "a"
    world.table.refuse("a")
    assert world.placement.choose(SMALL) is Lack.BUSY
    world.table.report(runner, Report(slots=4, active=1, admitted=0))
    assert choose(world) == "a"


def test_capabilities_and_earlier_failures_narrow_the_choice() -> None:
    world = World()
    world.up("plain")
    world.up("able", capabilities=("vision", "tools"))
    world.up("other", "large")
    needs = Needs("small", frozenset({"vision"}))
    assert {choose(world, needs) for _ in range(4)} == {"able"}
    assert world.placement.choose(Needs("small", frozenset({"vision"}), frozenset({"able"}))) is Lack.NONE
    assert {choose(world, Needs("small", excluded=frozenset({"able"}))) for _ in range(4)} == {"plain"}


def test_why_nobody_was_chosen() -> None:
    world = World(synced=False)
    assert world.placement.choose(SMALL) is Lack.UNKNOWN
    world.table.replace([record("a"), record("b", "large")])
    assert world.placement.choose(SMALL) is Lack.UNKNOWN
    assert world.placement.choose(Needs("large-think")) is Lack.NONE
    world.table.lost(world.runner("a"), "refused")
    assert world.placement.choose(SMALL) is Lack.NONE
    assert world.placement.lack(SMALL) is Lack.NONE
    world.up("c", slots=1, active=1)
    assert world.placement.choose(SMALL) is Lack.BUSY
    assert world.placement.lack(SMALL) is Lack.BUSY


def test_never_more_than_the_slots_whatever_happens() -> None:
    """Random placements, arrivals and endings: the router's own count never lets it overfill a runner."""
    rng = random.Random(3)
    world = World()
    runners = [world.up(f"r{number}", slots=rng.randint(1, 5)) for number in range(6)]
    travelling = {runner.id: 0 for runner in runners}
    active, admitted = dict(travelling), dict(travelling)
    for _ in range(5000):
        runner = rng.choice(runners)
        step = rng.random()
        if step < 0.5 and isinstance(chosen := world.placement.choose(SMALL), LiveRunner):
            travelling[chosen.id] += 1
            assert active[chosen.id] + travelling[chosen.id] <= chosen.load.slots
        elif step < 0.7 and travelling[runner.id]:
            travelling[runner.id] -= 1
            active[runner.id] += 1
            admitted[runner.id] += 1
        elif step < 0.85 and active[runner.id]:
            active[runner.id] -= 1
        else:
            status = Report(slots=runner.load.slots, active=active[runner.id], admitted=admitted[runner.id])
            world.table.report(runner, status)


def test_what_takes_no_slot_goes_to_a_full_runner_and_is_no_load() -> None:
    world = World()
    world.up("full", slots=1, active=1)
    runner = world.up("fuller", slots=2, active=2)
    free = Needs("small", slotless=True)
    assert {choose(world, free) for _ in range(20)} == {"full", "fuller"}
    assert world.placement.choose(SMALL) is Lack.BUSY
    assert runner.load.current(world.clock()) == 2


def test_what_takes_no_slot_prefers_the_less_loaded() -> None:
    world = World()
    world.up("busy", active=3)
    idle = world.up("idle")
    assert [choose(world, Needs("small", slotless=True)) for _ in range(5)] == ["idle"] * 5
    assert idle.load.current(world.clock()) == 0
    assert world.placement.choose(Needs("large", slotless=True)) is Lack.NONE


def test_those_who_fail_a_few_requests_do_not_crowd_the_others() -> None:
    """A retry draws as fairly as a first try."""
    world = World()
    for number in range(10):
        world.up(f"r{number}", slots=1000)
    counts = Counter(choose(world, Needs("small", excluded=frozenset({"r0", "r1"}))) for _ in range(800))
    assert len(counts) == 8
    assert max(counts.values()) - min(counts.values()) <= 10


@pytest.mark.parametrize("seed", range(30))
def test_a_runner_is_chosen_exactly_if_one_can_take_the_request(seed: int) -> None:
    """Whatever was drawn before: a runner may have left, be drained, be full, or have room again by time alone."""
    rng = random.Random(seed)
    world = World()
    for number in range(rng.randint(1, 30)):
        slots = rng.randint(1, 3)
        active = slots if rng.random() < 0.8 else rng.randrange(slots)
        models = rng.choice((("small",), ("small", "large"), ("large",)))
        world.up(f"r{number}", *models, slots=slots, active=active, capabilities=rng.choice(((), ("vision",))))
    for _ in range(200):
        runner = rng.choice(world.table.all())
        match rng.randrange(8):
            case 0:
                world.table.remove(runner)
                world.up(runner.id, *runner.record.models, slots=runner.load.slots, active=runner.load.slots)
            case 1:
                world.table.set_drained(runner.id, drained=rng.random() < 0.5)
            case 2 | 3:
                active = rng.randint(0, runner.load.slots)
                admitted = runner.load.slots * 10
                world.table.report(runner, Report(slots=runner.load.slots, active=active, admitted=admitted))
            case 4:
                # It told this before some of what was placed on it arrived.
                admitted = runner.load.slots * 10
                world.table.report(runner, Report(slots=runner.load.slots, active=0, admitted=admitted))
            case 5:
                world.table.refuse(runner.id)
            case 6:
                world.clock.now += rng.choice((0.1, FULL_LIFE, PLACEMENT_LIFE / 2, PLACEMENT_LIFE))
            case _:
                pass
        needs = Needs(
            rng.choice(("small", "large")),
            rng.choice((frozenset(), frozenset({"vision"}))),
            frozenset(rng.sample(world.ids(), rng.randint(0, min(2, len(world.ids()))))),
            slotless=rng.random() < 0.1,
        )
        able = [one for one in world.table.serving(needs.model) if needs.met_by(one)]
        free = [one for one in able if needs.slotless or one.load.has_room(world.clock())]
        outcome = world.placement.choose(needs)
        if free:
            assert outcome in free
        else:
            assert outcome is (Lack.BUSY if able else Lack.NONE)


def test_a_full_runner_is_looked_at_once_and_not_for_each_request() -> None:
    world = World()
    full = [world.up(f"full{number}", slots=1, active=1) for number in range(500)]
    free = [world.up(f"free{number}", slots=1000) for number in range(4)]
    with counted_looks() as looks:
        counts = Counter(choose(world) for _ in range(1000))
    assert counts.keys() == {runner.id for runner in free}
    assert max(counts.values()) - min(counts.values()) <= 10
    assert max(looks[runner.load] for runner in full) == 1


def test_a_full_tier_is_not_searched_again_before_something_changes() -> None:
    world = World()
    runners = [world.up(f"r{number}", slots=1, active=1) for number in range(500)]
    assert world.placement.choose(SMALL) is Lack.BUSY
    with counted_looks() as looks:
        assert {world.placement.choose(SMALL) for _ in range(100)} == {Lack.BUSY}
        assert not looks
        world.table.report(runners[7], Report(slots=1, active=0, admitted=1))
        assert choose(world) == "r7"
        assert world.placement.choose(SMALL) is Lack.BUSY
    assert set(looks) == {runners[7].load}


@contextmanager
def counted_looks() -> Iterator[Counter[Load]]:
    """Counts how often the router looks at the load of each runner."""
    looks: Counter[Load] = Counter()

    def current(load: Load, now: float) -> int:
        looks[load] += 1
        return original(load, now)

    original = Load.current
    with patch.object(Load, "current", current):
        yield looks
