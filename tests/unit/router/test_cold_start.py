"""Requests to a tier that is scaled to zero wait for its first runner."""

from services.common.catalog import Catalog, Model
from services.common.errors import Code
from services.router.placement import Needs
from services.router.routing import ANSWER_MARGIN
from tests.unit.router.world import CATALOG, World, record

COLD_START = 60
SLEEPING = Model(id="rare", kind="chat", tier="rare", price=1, context=64, cold_start_seconds=COLD_START)


def new_world() -> World:
    return World(catalog=Catalog([*CATALOG.models, SLEEPING]))


def test_the_first_request_waits_for_the_runner_that_it_wakes() -> None:
    world = new_world()
    world.ask("x", "rare", timeout=300.0)
    assert ("rare", 1) in world.routing.depths()
    world.advance(COLD_START - 1)
    assert world.answers == []
    world.up("a", "rare", tier="rare")
    assert world.placed() == [("x", "a")]


def test_a_runner_that_never_comes_is_waited_for_no_longer_than_the_catalog_says() -> None:
    world = new_world()
    world.ask("x", "rare", timeout=300.0)
    world.advance(COLD_START)
    [(_, error)] = world.refusals()
    assert error.code is Code.UNAVAILABLE


def test_the_caller_s_own_deadline_comes_first() -> None:
    world = new_world()
    world.ask("x", "rare", timeout=10.0)
    world.advance(10.0 - ANSWER_MARGIN)
    assert len(world.refusals()) == 1


def test_a_runner_that_fails_to_start_does_not_end_the_wait() -> None:
    world = new_world()
    world.ask("x", "rare", timeout=300.0)
    world.table.register(record("a", "rare", tier="rare"))
    world.table.lost(world.runner("a"), "refused")
    world.advance(5.0)
    assert world.answers == []
    world.up("b", "rare", tier="rare")
    assert world.placed() == [("x", "b")]


def test_who_saw_the_runner_fail_is_refused_at_once() -> None:
    world = new_world()
    world.ask("x", needs=Needs("rare", excluded=frozenset({"a"})))
    assert [error.code for _, error in world.refusals()] == [Code.UNAVAILABLE]


def test_other_tiers_are_refused_at_once_as_before() -> None:
    world = new_world()
    world.ask("x", "large")
    assert len(world.refusals()) == 1


def test_a_tier_that_comes_into_the_catalog_has_a_queue() -> None:
    catalog = Catalog(CATALOG.models)
    world = World(catalog=catalog)
    catalog.replace(Catalog([*CATALOG.models, SLEEPING]))
    world.ask("x", "rare", timeout=300.0)
    world.up("a", "rare", tier="rare")
    assert world.placed() == [("x", "a")]


def test_what_takes_no_slot_wakes_no_runner() -> None:
    world = new_world()
    world.ask("x", needs=Needs("rare", slotless=True), timeout=300.0)
    assert [error.code for _, error in world.refusals()] == [Code.UNAVAILABLE]
    assert ("rare", 0) in world.routing.depths()
