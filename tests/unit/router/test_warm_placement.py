"""A conversation goes on where it was read, unless that runner is much busier than the others."""

import random
from collections import Counter
from collections.abc import Sequence

import pytest
from prometheus_client import REGISTRY

from services.router.placement import ALWAYS_ALLOWED, BOUND, MEAN_LIFE, Lack, Needs
from services.router.runners.live_runner import LiveRunner
from services.router.runners.load import PLACEMENT_LIFE, Report
from tests.unit.router.world import World

SMALL = Needs("small")


def choose(world: World, hashes: Sequence[int], needs: Needs = SMALL) -> str:
    outcome = world.placement.choose(needs, hashes)
    assert isinstance(outcome, LiveRunner)
    return outcome.id


def set_load(world: World, **active: int) -> None:
    """Says how many requests runners have; nothing is on its way to them any more."""
    world.clock.now += PLACEMENT_LIFE
    for name, count in active.items():
        runner = world.runner(name)
        world.table.report(runner, Report(slots=runner.load.slots, active=count, admitted=1000))


def placements(reason: str) -> float:
    return REGISTRY.get_sample_value("tiermesh_router_placements_total", {"reason": reason}) or 0.0


def new_world(slots: int = 100, names: str = "abcdefgh") -> World:
    world = World()
    for name in names:
        world.up(name, slots=slots, admitted=1000)
    return world


def test_the_turns_of_a_conversation_stay_together() -> None:
    world = new_world()
    before = placements("warm_prefix")
    for conversation in range(50):
        first = conversation * 100
        runners = set()
        for messages in range(1, 9, 2):
            set_load(world, **dict.fromkeys("abcdefgh", 0))
            runners.add(choose(world, range(first, first + messages)))
        assert len(runners) == 1
    assert placements("warm_prefix") - before == 50 * 3


def test_conversations_without_a_common_prefix_spread() -> None:
    world = new_world()
    counts = Counter(choose(world, [number]) for number in range(80))
    assert set(counts) == set("abcdefgh")


@pytest.mark.parametrize(("hashes", "runner"), [([1, 2, 3, 5], "a"), ([1, 2, 6], "b"), ([1, 2], "b"), ([1], "c")])
def test_the_longest_prefix_wins_and_then_the_latest_runner(hashes: list[int], runner: str) -> None:
    world = new_world()
    for prefix, name in (([1, 2, 3], "a"), ([1, 2], "b"), ([1], "c")):
        world.placement._warm_prefixes.remember(prefix, world.runner(name))
    assert choose(world, hashes) == runner


def test_a_warm_runner_is_not_loaded_far_beyond_the_mean() -> None:
    world = new_world(slots=1000)
    counts: Counter[str] = Counter()
    for number in range(800):
        # All share their instructions, as the requests of one application do.
        counts[choose(world, [1, 1000 + number])] += 1
        # The mean is taken anew now and then.
        world.clock.now += MEAN_LIFE / 10
    assert len(counts) == 8
    assert max(counts.values()) <= BOUND * 100 + 1


@pytest.mark.parametrize(("taken", "warm"), [(ALWAYS_ALLOWED - 1, True), (ALWAYS_ALLOWED, False)])
def test_little_company_is_always_allowed(taken: int, warm: bool) -> None:
    world = new_world()
    name = choose(world, [1])
    set_load(world, **{name: taken})
    assert (choose(world, [1, 2]) == name) is warm


def test_the_bound_weighs_by_slots() -> None:
    world = World()
    big, little = world.up("big", slots=240, admitted=1000), world.up("little", slots=80, admitted=1000)
    for runner in (big, little):
        world.placement._warm_prefixes.remember([ord(runner.id[0])], runner)
    # The mean is a fifth of the slots, and the bound is a fourth.
    set_load(world, big=59, little=5)
    assert choose(world, [ord("b")]) == "big"
    set_load(world, big=61, little=3)
    assert choose(world, [ord("b")]) == "little"


def test_a_full_warm_runner_is_passed_over_and_the_conversation_moves_for_good() -> None:
    world = new_world(slots=1)
    name = choose(world, [1])
    moved = choose(world, [1, 2])
    assert moved != name
    set_load(world, **dict.fromkeys("abcdefgh", 0))
    assert choose(world, [1, 2, 3]) == moved


def test_a_warm_runner_that_refused_is_passed_over() -> None:
    world = new_world()
    name = choose(world, [1])
    world.table.refuse(name)
    assert choose(world, [1, 2]) != name


def test_a_dead_warm_runner_is_no_runner() -> None:
    world = new_world(names="abc")
    name = choose(world, [1])
    world.table.lost(world.runner(name), "gone")
    moved = choose(world, [1, 2])
    assert moved != name
    # It comes back, cold, as another one at the same place.
    world.table.register(world.runner(name).record)
    world.up(name, slots=100, address="elsewhere:1")
    assert choose(world, [1, 2, 3]) == moved


def test_a_warm_runner_must_be_able_to_serve() -> None:
    world = World()
    world.up("plain")
    for name in ("able", "other"):
        world.up(name, capabilities=("vision",))
    world.placement._warm_prefixes.remember([1], world.runner("plain"))
    assert choose(world, [1]) == "plain"
    assert choose(world, [1], Needs("small", frozenset({"vision"}))) in {"able", "other"}


def test_one_runner_alone_costs_nothing() -> None:
    world = new_world(names="a", slots=1)
    before = placements("only_choice")
    assert choose(world, [1, 2]) == "a"
    assert placements("only_choice") - before == 1
    assert len(world.placement._warm_prefixes) == 0
    assert world.placement.choose(SMALL, [1, 2, 3]) is Lack.BUSY


def test_never_more_than_the_slots() -> None:
    rng = random.Random(4)
    world = new_world(slots=3)
    while isinstance(world.placement.choose(SMALL, [rng.randrange(3), rng.randrange(5, 9)]), LiveRunner):
        assert all(runner.load.current(world.clock.now) <= 3 for runner in world.table.all())
    assert sum(runner.load.current(world.clock.now) for runner in world.table.all()) == 3 * 8
