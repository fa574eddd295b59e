from services.common.errors import MeshError
from services.router.placement import Needs
from services.router.queue import FairQueue, Waiter
from services.router.runners.live_runner import LiveRunner

SMALL, LARGE = Needs("small"), Needs("large")


def waiter(account: str, needs: Needs = SMALL) -> Waiter:
    def ignore(_: LiveRunner | MeshError) -> None:
        pass

    return Waiter(needs, account, "pro", ignore, since=0.0, deadline=1.0, settle_by=1.0, start_by=0.0)


def serve(queue: FairQueue, room: int, *, only: Needs | None = None) -> str:
    """Lets the queue fill `room` places and returns the accounts that got them, in order."""
    served: list[str] = []

    def settle(candidate: Waiter) -> bool:
        if len(served) >= room or (only is not None and candidate.needs != only):
            return False
        served.append(candidate.account_id)
        return True

    queue.serve(settle)
    return "".join(served)


def filled(accounts: str, needs: Needs = SMALL) -> FairQueue:
    queue = FairQueue(limit=100, account_limit=100)
    for account in accounts:
        assert queue.add(waiter(account, needs))
    return queue


def test_accounts_take_turns_however_many_requests_each_has() -> None:
    assert serve(filled("aaaabbc"), room=7) == "abcabaa"


def test_turns_go_on_where_they_ended() -> None:
    queue = filled("aaaabbc")
    assert [serve(queue, room=1) for _ in range(7)] == ["a", "b", "c", "a", "b", "a", "a"]
    assert len(queue) == 0


def test_who_comes_back_waits_for_its_turn() -> None:
    queue = filled("aab")
    assert serve(queue, room=1) == "a"
    queue.add(waiter("c"))
    assert serve(queue, room=9) == "bac"


def test_an_account_is_served_in_order_of_arrival_but_for_bounced_ones() -> None:
    queue = FairQueue(limit=9, account_limit=9)
    first, second, bounced = waiter("a"), waiter("a"), waiter("a")
    queue.add(first)
    queue.add(second)
    queue.add(bounced, again=True)
    order: list[Waiter] = []

    def settle(candidate: Waiter) -> bool:
        order.append(candidate)
        return True

    queue.serve(settle)
    assert order == [bounced, first, second]


def test_what_is_stuck_does_not_hold_up_others() -> None:
    queue = filled("aaab")
    queue.add(waiter("a", LARGE))
    queue.add(waiter("c", LARGE))
    assert serve(queue, room=9, only=LARGE) == "ac"
    assert len(queue) == 4


def test_a_full_tier_costs_one_try_for_each_kind_of_needs() -> None:
    queue = filled("abcdefgh" * 5)
    queue.add(waiter("a", LARGE))
    tries: list[Waiter] = []

    def refuse(candidate: Waiter) -> bool:
        tries.append(candidate)
        return False

    queue.serve(refuse)
    assert [candidate.needs for candidate in tries] == [SMALL, LARGE]


def test_the_bounds_hold_for_all_and_for_each_account() -> None:
    queue = FairQueue(limit=3, account_limit=2)
    assert queue.add(waiter("a"))
    assert queue.add(waiter("a"))
    assert not queue.add(waiter("a"))
    assert queue.add(waiter("b"))
    assert not queue.add(waiter("c"))
    assert len(queue) == 3


def test_removed_requests_are_gone_and_removing_twice_is_harmless() -> None:
    queue = filled("a")
    other = waiter("b", LARGE)
    queue.add(other)
    queue.remove(other)
    queue.remove(other)
    assert not queue.wanted(LARGE)
    assert queue.wanted(SMALL)
    assert [left.account_id for left in queue] == ["a"]
    assert serve(queue, room=9) == "a"
