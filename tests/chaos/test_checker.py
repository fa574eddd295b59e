"""What the checker allows, case by case: as little as possible."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.chaos.checker import EITHER, NOTHING, PAID, Checker, Undisturbed
from tests.chaos.ledger_view import Books, HoldRow
from tests.chaos.plan import SWALLOW, RequestPlan
from tests.chaos.record import End, Hit, Record

STREAM = RequestPlan(at=0, account=0, prompt=0, stream=True, max_tokens=3)
WHOLE = replace(STREAM, stream=False)
EMPTY = replace(STREAM, empty=True)
ANSWER = Undisturbed(("one", "two", "three", "four"), 4)
SENT = 1000.0
EDGE_DIED = [Hit("edge", SENT + 1, SENT + 1, SENT + 2)]


def record(end: End, plan: RequestPlan = STREAM, *, text: str = "", after: float = 1.0) -> Record:
    return Record(0, plan, "acct", "key", "sk", SENT, SENT + after, end, text=text, pieces=len(text.split()))


def row(outcome: str) -> HoldRow:
    return HoldRow("req", "acct", "key", 10, "released", outcome, 0, int((SENT + 5) * 1000), 0, "")


def allowed(seen: Record, outcome: str = "", hits: list[Hit] | None = None) -> frozenset[int]:
    checker = Checker(Books(), hits or [], [ANSWER])
    return checker.allowed(seen, row(outcome) if outcome else None)


@pytest.mark.parametrize("end", [End.REFUSED, End.ERROR_FRAME, End.NOT_CONNECTED])
def test_whoever_got_an_error_pays_nothing(end: End) -> None:
    assert allowed(record(end), "failed", EDGE_DIED) == NOTHING


def test_only_an_edge_that_dies_before_it_could_ask_for_the_refund_may_leave_the_charge() -> None:
    unheard = Hit(SWALLOW, SENT - 3, SENT - 3, SENT + 1)
    assert allowed(record(End.ERROR_FRAME), "completed", [unheard]) == NOTHING
    assert allowed(record(End.ERROR_FRAME), "completed", [unheard, *EDGE_DIED]) == EITHER


def test_a_complete_answer_is_paid_unless_it_is_empty() -> None:
    assert allowed(record(End.COMPLETE, text="one two three"), "completed") == PAID
    assert allowed(record(End.COMPLETE, EMPTY), "empty") == NOTHING


def test_leaving_is_free_before_a_token_can_exist_and_unknowable_until_one_is_seen() -> None:
    assert allowed(record(End.LEFT, after=0.1)) == NOTHING
    assert allowed(record(End.LEFT, after=0.5)) == EITHER
    assert allowed(record(End.LEFT, text="one"), "client_left_late") == PAID


def test_leaving_after_a_token_is_free_only_if_the_edge_or_the_answer_died() -> None:
    left = record(End.LEFT, text="one")
    assert allowed(left, "expired") == PAID
    assert allowed(left, "expired", EDGE_DIED) == EITHER
    assert allowed(left, "failed") == PAID
    assert allowed(left, "failed", [Hit("runner-1", SENT, SENT, SENT + 1)]) == EITHER
    assert allowed(left, "client_left_early", EDGE_DIED) == PAID


def test_a_broken_stream_is_free_until_all_its_text_was_seen() -> None:
    assert allowed(record(End.BROKEN, text="one two"), "expired", EDGE_DIED) == NOTHING
    assert allowed(record(End.BROKEN, text="one two three"), "expired", EDGE_DIED) == EITHER
    assert allowed(record(End.BROKEN, replace(STREAM, pause=0.1), text="one"), "expired", EDGE_DIED) == EITHER


def test_a_broken_body_is_free_until_the_engine_can_have_been_done() -> None:
    assert allowed(record(End.BROKEN, WHOLE, after=0.1), "expired", EDGE_DIED) == NOTHING
    assert allowed(record(End.BROKEN, WHOLE), "expired", EDGE_DIED) == EITHER
    assert allowed(record(End.BROKEN, replace(WHOLE, empty=True)), "expired", EDGE_DIED) == NOTHING
