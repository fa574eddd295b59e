"""The rules on a working copy; what they mean as rows is tested on real databases."""

from __future__ import annotations

from collections import defaultdict

import pytest

from services.billing.ledger.holds import Hold, Outcome, State
from services.billing.ledger.ledger import MAX_CREDITS, Balance, Ledger
from services.billing.ledger.operations import Effect, Expire, Grant, Reserve, Result, Settle
from services.billing.ledger.prices import Quote
from services.common.errors import Code, MeshError

NOW = 1_000
QUOTE = Quote("pro", 2, 5)


def ledger_with(available: int = 100, held: int = 0, *holds: Hold) -> Ledger:
    return Ledger({hold.request_id: hold for hold in holds}, {"acct": Balance(available, held)}, {}, now_ms=NOW)


def open_hold(**changes: object) -> Hold:
    hold = Hold("r", "acct", "key", "pro", 2, 5, 10, 1)
    for name, value in changes.items():
        setattr(hold, name, value)
    return hold


def code(answer: Result) -> Code:
    assert isinstance(answer, MeshError)
    return answer.code


def test_reserve_makes_a_hold_with_a_snapshot_of_the_price() -> None:
    ledger = ledger_with()
    assert ledger.apply(Reserve("r", "acct", "key", QUOTE)) == Effect(10, 90, 10)
    assert ledger.new_holds == {"r": Hold("r", "acct", "key", "pro", 2, 5, 10, NOW)}
    assert ledger.changed_balances == {"acct": Balance(90, 10)}
    assert ledger.moved == {"reserve": 10}


def test_a_hold_that_is_made_and_ended_in_one_batch_is_written_once() -> None:
    ledger = ledger_with()
    ledger.apply(Reserve("r", "acct", "key", QUOTE))
    ledger.apply(Settle("r", Outcome.COMPLETED, 3, 4, "runner"))
    assert ledger.ended_holds == {}
    hold = ledger.new_holds["r"]
    assert (hold.state, hold.outcome, hold.settled_ms) == (State.CAPTURED, Outcome.COMPLETED, NOW)
    assert (hold.prompt_tokens, hold.completion_tokens, hold.runner_id) == (3, 4, "runner")


@pytest.mark.parametrize("available", [0, 9])
def test_a_refusal_changes_nothing(available: int) -> None:
    ledger = ledger_with(available)
    answer = ledger.apply(Reserve("r", "acct", "key", QUOTE))
    assert code(answer) is Code.INSUFFICIENT_CREDITS
    assert isinstance(answer, MeshError)
    assert f"costs 10, and {available} are available" in answer.message
    assert (ledger.entries, ledger.new_holds, ledger.changed_balances, ledger.new_balances) == ([], {}, {}, {})


def test_the_last_credit_can_be_spent() -> None:
    assert ledger_with(10).apply(Reserve("r", "acct", "key", QUOTE)) == Effect(10, 0, 10)


@pytest.mark.parametrize("quote", [Quote("max", 2, 5), Quote("pro", 3, 5)], ids=["another model", "another quantity"])
def test_a_repeat_must_ask_for_the_same(quote: Quote) -> None:
    assert code(ledger_with(100, 10, open_hold()).apply(Reserve("r", "acct", "key", quote))) is Code.CONFLICT


def test_a_repeat_after_the_end_is_refused() -> None:
    hold = open_hold(state=State.RELEASED, outcome=Outcome.FAILED)
    assert code(ledger_with(100, 0, hold).apply(Reserve("r", "acct", "key", QUOTE))) is Code.CONFLICT


def test_settling_an_expired_hold_takes_the_price_from_what_is_available() -> None:
    ledger = ledger_with(10, 0, open_hold(state=State.RELEASED, outcome=Outcome.EXPIRED))
    assert ledger.apply(Settle("r", Outcome.COMPLETED)) == Effect(10, 0, 0)
    assert ledger.apply(Settle("r", Outcome.COMPLETED)) == Effect(10, 0, 0)
    assert [(entry.account_id, entry.pocket, entry.amount) for entry in ledger.entries] == [
        ("acct", "available", -10),
        ("system:revenue", "available", 10),
    ]


def test_settling_an_expired_hold_without_credits_is_refused() -> None:
    ledger = ledger_with(9, 0, open_hold(state=State.RELEASED, outcome=Outcome.EXPIRED))
    assert code(ledger.apply(Settle("r", Outcome.CLIENT_LEFT_LATE))) is Code.INSUFFICIENT_CREDITS
    assert ledger.entries == []


def test_what_was_never_reserved_cannot_be_ended() -> None:
    ledger = ledger_with()
    assert code(ledger.apply(Settle("r", Outcome.COMPLETED))) is Code.NOT_FOUND
    assert code(ledger.apply(Expire("r"))) is Code.NOT_FOUND


def test_an_account_begins_with_its_first_grant() -> None:
    ledger = Ledger({}, {}, {}, now_ms=NOW)
    assert ledger.apply(Grant("g", "new", 7)) == Effect(7, 7, 0)
    assert ledger.apply(Grant("h", "new", 3)) == Effect(3, 10, 0)
    assert ledger.new_balances == {"new": Balance(10, 0)}
    assert ledger.changed_balances == {}


def test_no_account_grows_beyond_what_can_be_added_up() -> None:
    ledger = ledger_with(MAX_CREDITS - 5, 5)
    assert code(ledger.apply(Grant("g", "acct", 1))) is Code.INVALID_REQUEST


def test_every_movement_sums_to_zero() -> None:
    ledger = ledger_with(100, 0)
    ledger.apply(Grant("g", "acct", 5))
    for name, end in ("a", Settle("a", Outcome.COMPLETED)), ("b", Settle("b", Outcome.EMPTY)), ("c", Expire("c")):
        ledger.apply(Reserve(name, "acct", "key", QUOTE))
        ledger.apply(end)
    sums: dict[tuple[str, str], list[int]] = defaultdict(list)
    for entry in ledger.entries:
        sums[entry.reference, entry.kind].append(entry.amount)
    assert len(sums) == 7
    assert all(len(amounts) == 2 and sum(amounts) == 0 for amounts in sums.values())


FREE = [Outcome.FAILED, Outcome.EMPTY, Outcome.CLIENT_LEFT_EARLY]
CHARGED = [Outcome.COMPLETED, Outcome.CLIENT_LEFT_LATE]


@pytest.mark.parametrize("outcome", FREE)
def test_a_free_settle_without_a_hold_refuses_the_reserve_behind_it(outcome: Outcome) -> None:
    ledger = ledger_with()
    assert ledger.apply(Settle("r", outcome)) == Effect(0, 0, 0)
    assert code(ledger.apply(Reserve("r", "acct", "key", QUOTE))) is Code.CONFLICT
    assert (ledger.entries, ledger.changed_balances) == ([], {})
    left = ledger.new_holds["r"]
    # The next transaction reads what this one has left.
    later = ledger_with(100, 0, left)
    assert code(later.apply(Reserve("r", "acct", "key", QUOTE))) is Code.CONFLICT
    assert later.apply(Settle("r", Outcome.COMPLETED)) == Effect(0, 0, 0)
    assert (later.entries, later.ended_holds) == ([], {})


@pytest.mark.parametrize("outcome", CHARGED)
def test_a_charge_without_a_hold_is_refused_and_leaves_nothing(outcome: Outcome) -> None:
    ledger = ledger_with()
    assert code(ledger.apply(Settle("r", outcome))) is Code.NOT_FOUND
    assert ledger.new_holds == {}


@pytest.mark.parametrize("charge", CHARGED)
@pytest.mark.parametrize("free", FREE)
def test_a_free_settle_of_an_expired_hold_is_final(free: Outcome, charge: Outcome) -> None:
    ledger = ledger_with(90, 10, open_hold())
    ledger.apply(Expire("r"))
    assert ledger.apply(Settle("r", free)) == Effect(0, 100, 0)
    assert ledger.apply(Settle("r", charge)) == Effect(0, 100, 0)
    hold = ledger.ended_holds["r"]
    assert (hold.state, hold.outcome) == (State.RELEASED, free)
    assert ledger.moved == {"release": 10}
