"""What the checker allows, case by case: as little as possible."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.chaos.checker import EITHER, NOTHING, PAID, Checker, Undisturbed, resumed_upstream
from tests.chaos.faults.fault import RUNNERS, UPSTREAMS, Hit, Kind
from tests.chaos.ledger_view import Books, HoldRow
from tests.chaos.plan import RequestPlan
from tests.chaos.record import End, Record
from tests.chaos.world import REQUEST_TIMEOUT

STREAM = RequestPlan(at=0, account=0, prompt=0, stream=True, max_tokens=3)
WHOLE = replace(STREAM, stream=False)
EMPTY = replace(STREAM, empty=True)
ANSWER = Undisturbed(("one", "two", "three", "four"), 4)
SENT = 1000.0
EDGE_DIED = [Hit("edge-1", SENT + 1, SENT + 1, SENT + 2)]


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
    unheard = Hit("billing", SENT - 3, SENT - 3, SENT + 1, Kind.LOSE_REPLIES)
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


def test_a_broken_stream_may_have_ended_where_it_was_once_its_time_was_over() -> None:
    late = record(End.BROKEN, text="one", after=REQUEST_TIMEOUT)
    assert allowed(late, "completed", EDGE_DIED) == EITHER
    assert allowed(replace(late, plan=replace(STREAM, upstream=True)), "failed", EDGE_DIED) == NOTHING
    assert allowed(replace(late, ended=late.ended - REQUEST_TIMEOUT / 2), "expired", EDGE_DIED) == NOTHING


def test_a_broken_body_is_free_until_the_engine_can_have_been_done() -> None:
    assert allowed(record(End.BROKEN, WHOLE, after=0.1), "expired", EDGE_DIED) == NOTHING
    assert allowed(record(End.BROKEN, WHOLE), "expired", EDGE_DIED) == EITHER
    assert allowed(record(End.BROKEN, replace(WHOLE, empty=True)), "expired", EDGE_DIED) == NOTHING


def found(seen: Record, outcome: str, *hits: Hit) -> set[str]:
    books = Books()
    if outcome:
        books.holds[seen.key_id].append(row(outcome))
    return {violation.kind for violation in Checker(books, hits, [ANSWER]).check([seen])}


def refused(after: float = 1.0) -> Record:
    return replace(record(End.REFUSED, after=after), status=503)


def hit(target: str, kind: Kind = Kind.KILL) -> Hit:
    return Hit(target, SENT + 0.1, SENT + 0.2, SENT + 6, kind)


def test_a_hold_that_expires_while_its_edge_lives_is_an_orphan() -> None:
    assert found(refused(), "expired", hit("billing-1", Kind.FREEZE)) == {"orphan hold"}
    assert found(refused(), "expired", hit("edge-1", Kind.DRAIN)) == {"orphan hold"}
    assert found(refused(), "expired", hit("edge-1")) == set()
    assert found(refused(), "expired", hit("edge-1", Kind.DRAIN), hit("billing-1", Kind.FREEZE)) == set()


def test_an_edge_that_stops_in_good_order_breaks_nothing_that_it_has_begun() -> None:
    broken = record(End.BROKEN, text="one")
    assert "broken" in found(broken, "failed", hit("edge-1", Kind.DRAIN))
    assert "broken" in found(broken, "failed", hit("edge-1", Kind.FREEZE))
    assert found(broken, "", hit("edge-1", Kind.DRAIN)) == set()
    assert found(broken, "failed", hit("edge-1")) == set()


def test_a_request_may_take_all_its_time_only_if_no_runner_was_well() -> None:
    late = refused(after=REQUEST_TIMEOUT)
    assert found(late, "failed", hit("runner-1", Kind.FREEZE)) == {"starved"}
    assert found(late, "failed", *map(hit, RUNNERS)) == set()
    assert found(late, "failed", hit("router-1", Kind.FREEZE)) == set()
    assert found(refused(), "failed") == set()


def test_a_request_to_servers_may_take_all_its_time_only_if_each_of_them_or_its_runner_was_ill() -> None:
    late = replace(refused(after=REQUEST_TIMEOUT), plan=replace(STREAM, upstream=True))
    assert found(late, "failed", *map(hit, RUNNERS), hit("upstream-1")) == {"starved"}
    assert found(late, "failed", hit("upstream-1"), hit("runner-4")) == {"starved"}
    assert found(late, "failed", hit("upstream-1"), hit("runner-5")) == set()
    assert found(late, "failed", *map(hit, UPSTREAMS)) == set()


def test_an_answer_of_a_server_does_not_end_at_the_time_limit_as_it_stands() -> None:
    cut = replace(record(End.COMPLETE, text="one", after=REQUEST_TIMEOUT), finish_reason="length", charged_at_end=10)
    assert "text" not in found(cut, "completed")
    assert "text" in found(replace(cut, plan=replace(STREAM, upstream=True)), "completed")


def test_nothing_goes_on_after_the_text_of_a_server() -> None:
    moves = [{"runner": runner, "tokens": tokens} for runner in ("runner-1", "runner-4") for tokens in (0, 3)]
    (violation,) = resumed_upstream(moves)
    assert "runner-4" in str(violation)
