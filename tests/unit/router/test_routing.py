from services.common.errors import Code
from services.router.placement import Needs
from services.router.routing import ANSWER_MARGIN, Limits
from services.router.runners.load import PLACEMENT_LIFE, Report
from tests.unit.router.world import World, record


def test_room_is_answered_at_once() -> None:
    world = World()
    world.up("a")
    assert world.ask("x") is None
    assert world.placed() == [("x", "a")]


def test_an_unknown_model_is_not_found() -> None:
    world = World()
    world.ask("x", "no-such-model")
    [(_, error)] = world.refusals()
    assert (error.code, error.param) == (Code.MODEL_NOT_FOUND, "model")


def test_a_tier_without_runners_is_unavailable_at_once_and_named() -> None:
    world = World()
    world.up("a")
    world.ask("x", "large")
    world.ask("y", needs=Needs("small", frozenset({"vision"})))
    [(_, no_tier), (_, no_vision)] = world.refusals()
    assert no_tier.code is no_vision.code is Code.UNAVAILABLE
    assert "'max'" in no_tier.message
    assert "vision" in no_vision.message
    assert no_tier.retry_after > 0


def test_waiting_requests_get_room_in_turn() -> None:
    world = World()
    runner = world.up("a", slots=2)
    for name, account in [("1", "x"), ("2", "x"), ("3", "x"), ("4", "x"), ("5", "y")]:
        world.ask(name, account=account)
    assert world.placed() == [("1", "a"), ("2", "a")]
    for admitted in (2, 3, 4):
        world.finish(runner, admitted=admitted)
    assert [name for name, _ in world.placed()] == ["1", "2", "3", "5", "4"]
    assert world.routing.depths() == [("pro", 0), ("max", 0)]


def test_those_who_waited_go_to_the_runner_that_has_read_their_conversation() -> None:
    world = World()
    runners = {name: world.up(name, slots=1) for name in "abc"}
    world.ask("turn 1", prefix_hashes=[1])
    [(_, warm)] = world.placed()
    for count in (2, 3):
        world.ask(f"other {count}")
    world.ask("turn 2", prefix_hashes=[1, 2])
    assert len(world.placed()) == 3
    # All runners have room again before anybody is served.
    for runner in runners.values():
        runner.load.restart(Report(slots=1, active=0, admitted=0))
    world.routing.tick()
    assert world.placed()[-1] == ("turn 2", warm)


def test_a_warm_runner_is_no_reason_to_wait_for_it() -> None:
    world = World()
    warm, cold = world.up("a", slots=1), world.up("b", slots=1)
    world.table.lost(cold, "gone")
    world.up("c", slots=1, active=1)
    world.ask("turn 1", prefix_hashes=[1])
    assert world.placed() == [("turn 1", warm.id)]
    world.ask("turn 2", prefix_hashes=[1, 2])
    world.table.report(cold, Report(slots=1, active=0, admitted=0))
    assert world.placed()[1:] == [("turn 2", cold.id)]


def test_nobody_jumps_the_queue() -> None:
    world = World()
    world.up("a", slots=1)
    world.ask("never came")
    world.ask("first")
    # Time makes room unnoticed until the next tick: only the queue may use it.
    world.clock.now += PLACEMENT_LIFE
    world.ask("second")
    assert world.placed() == [("never came", "a")]
    world.routing.tick()
    assert world.placed() == [("never came", "a"), ("first", "a")]


def test_a_busy_tier_does_not_hold_up_another_model_of_it() -> None:
    world = World()
    world.up("a", "large", slots=1, active=1)
    world.up("b", "large-think")
    world.ask("stuck", "large")
    world.ask("free", "large-think")
    assert world.placed() == [("free", "b")]


def test_who_waits_too_long_is_told_before_the_caller_gives_up() -> None:
    world = World()
    world.up("a", slots=1, active=1)
    world.ask("x", timeout=10.0)
    world.advance(10.0 - ANSWER_MARGIN - 0.1)
    assert world.answers == []
    world.advance(0.1)
    [(_, error)] = world.refusals()
    assert error.code is Code.DEADLINE_EXCEEDED
    assert "'pro'" in error.message
    assert error.retry_after > 0


def test_waiting_ends_at_once_when_the_last_runner_dies() -> None:
    world = World()
    runner = world.up("a", slots=1, active=1)
    world.ask("x")
    world.table.lost(runner, "gone")
    [(_, error)] = world.refusals()
    assert error.code is Code.UNAVAILABLE


def test_a_cancelled_request_leaves_the_queue() -> None:
    world = World()
    runner = world.up("a", slots=1, active=1)
    waiter = world.ask("x")
    assert waiter is not None
    world.routing.cancel(waiter)
    world.table.report(runner, Report(slots=1, active=0, admitted=1))
    assert world.answers == []


def test_a_placement_that_never_arrives_makes_room_by_time() -> None:
    world = World()
    world.up("a", slots=1)
    world.ask("lost")
    world.ask("next")
    world.advance(PLACEMENT_LIFE)
    assert world.placed() == [("lost", "a"), ("next", "a")]


def test_before_etcd_has_spoken_requests_wait_and_are_then_placed() -> None:
    world = World(synced=False)
    world.ask("x")
    world.advance(1.0)
    world.table.replace([record("a")])
    assert world.answers == []
    world.table.report(world.runner("a"), Report(slots=4, active=0, admitted=0))
    assert world.placed() == [("x", "a")]


def test_waiting_for_etcd_is_bounded() -> None:
    world = World(Limits(settle_seconds=2.0), synced=False)
    world.ask("long", timeout=60.0)
    world.ask("short", timeout=1.0)
    world.advance(0.9)
    world.advance(1.1)
    assert [(name, error.code) for name, error in world.refusals()] == [
        ("short", Code.UNAVAILABLE),
        ("long", Code.UNAVAILABLE),
    ]


def test_who_waited_for_etcd_goes_on_waiting_for_room() -> None:
    world = World(Limits(settle_seconds=2.0), synced=False)
    world.ask("x", timeout=60.0)
    world.advance(1.0)
    world.table.replace([record("a", slots=1)])
    runner = world.runner("a")
    world.table.report(runner, Report(slots=1, active=1, admitted=1))
    world.advance(10.0)
    assert world.answers == []
    world.table.report(runner, Report(slots=1, active=0, admitted=1))
    assert world.placed() == [("x", "a")]


def test_the_only_runner_failing_to_connect_ends_the_wait() -> None:
    world = World()
    world.table.register(record("a"))
    world.ask("x")
    assert world.answers == []
    world.table.lost(world.runner("a"), "refused")
    [(_, error)] = world.refusals()
    assert error.code is Code.UNAVAILABLE


def test_a_replaced_runner_does_not_fail_those_who_wait() -> None:
    world = World()
    world.up("a", slots=1, active=1)
    world.ask("x")
    world.up("a", slots=1, address="elsewhere:1")
    assert world.placed() == [("x", "a")]


def test_a_full_queue_refuses() -> None:
    world = World(Limits(queue=2, account=1))
    world.up("a", slots=1, active=1)
    for name, account in [("1", "x"), ("2", "x"), ("3", "y"), ("4", "z")]:
        world.ask(name, account=account)
    assert [(name, error.code) for name, error in world.refusals()] == [("2", Code.OVERLOADED), ("4", Code.OVERLOADED)]


def test_what_takes_no_slot_passes_those_who_wait_for_one() -> None:
    world = World()
    world.up("a", slots=1, active=1)
    world.ask("waits")
    world.ask("free", needs=Needs("small", slotless=True))
    assert world.placed() == [("free", "a")]


def test_what_takes_no_slot_waits_for_etcd_as_others_do() -> None:
    world = World(synced=False)
    world.ask("x", needs=Needs("small", slotless=True))
    world.advance(1.0)
    assert world.answers == []
    world.up("a")
    assert world.placed() == [("x", "a")]
