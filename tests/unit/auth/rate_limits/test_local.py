from __future__ import annotations

import pytest

from services.auth.rate_limits.local import Hit, RateLimits, RateLimitState
from services.common.errors import Code, MeshError
from tests.unit.auth.manual_clock import ManualClock


@pytest.fixture
def limits(clock: ManualClock) -> RateLimits:
    return RateLimits(clock)


def test_the_61st_request_is_refused_until_the_first_is_a_minute_old(limits: RateLimits, clock: ManualClock) -> None:
    for sent in range(60):
        state = limits.hit("key_1", 60)
        assert (state.allowed, state.limit, state.remaining, state.reset_ms) == (True, 60, 59 - sent, 60_000)
        clock.advance(0.5)
    refused = limits.hit("key_1", 60)
    assert (refused.allowed, refused.remaining, refused.retry_after) == (False, 0, 30.0)
    # The last request was half a second ago.
    assert refused.reset_ms == 59_500
    clock.advance(refused.retry_after)
    assert limits.hit("key_1", 60).allowed
    assert not limits.hit("key_1", 60).allowed


def test_one_millisecond_early_is_too_early(limits: RateLimits, clock: ManualClock) -> None:
    assert limits.hit("key_1", 1).allowed
    clock.advance(59.999)
    assert limits.hit("key_1", 1).retry_after == pytest.approx(0.001)
    clock.advance(0.001)
    assert limits.hit("key_1", 1).allowed


def test_refused_requests_do_not_count(limits: RateLimits, clock: ManualClock) -> None:
    limits.hit("key_1", 1)
    for _ in range(59):
        clock.advance(1)
        assert not limits.hit("key_1", 1).allowed
    clock.advance(1)
    assert limits.hit("key_1", 1).allowed


def test_keys_do_not_share_a_limit(limits: RateLimits) -> None:
    assert limits.hit("key_1", 1).allowed
    assert limits.hit("key_2", 1).allowed
    assert not limits.hit("key_1", 1).allowed


def test_a_changed_limit_begins_with_an_empty_window(limits: RateLimits) -> None:
    assert limits.hit("key_1", 1).allowed
    assert limits.hit("key_1", 2).remaining == 1
    assert not limits.hit("key_1", 1).allowed


def test_no_limit_is_no_state(limits: RateLimits) -> None:
    (state,) = hit_together(limits, ())
    assert (state.allowed, state.limit, state.remaining, state.reset_ms) == (True, 0, 0, 0)
    assert hit_together(limits, ()) == [state]


def test_a_refusal_says_when_to_come_back(limits: RateLimits) -> None:
    limits.hit("key_1", 1)
    error = limits.hit("key_1", 1).refusal()
    assert isinstance(error, MeshError)
    assert (error.code, error.retry_after) == (Code.RATE_LIMITED, 60.0)
    assert "1 requests in any 60 seconds" in error.message
    assert "try again in 60 s" in error.message


def test_a_large_limit_is_exact_within_a_burst_and_never_exceeded(limits: RateLimits, clock: ManualClock) -> None:
    assert sum(limits.hit("key_1", 100_000).allowed for _ in range(100_050)) == 100_000
    state = limits.hit("key_1", 100_000)
    assert state.retry_after == 60.0
    clock.advance(60)
    assert limits.hit("key_1", 100_000).remaining == 99_999


def hit_together(limits: RateLimits, *hits: Hit) -> list[RateLimitState]:
    answers: list[list[RateLimitState]] = []
    limits.hit_all(hits, answers.append)
    return answers[0]


def test_a_request_counts_in_all_its_limits_or_in_none(limits: RateLimits, clock: ManualClock) -> None:
    parent = ("parent", 5)
    first, second = (parent, ("first", 2)), (parent, ("second", 4))
    states = hit_together(limits, first, first, first, first)
    assert [state.allowed for state in states] == [True, True, False, False]
    # What the child's own limit refused is not counted against the parent's.
    clock.advance(10)
    states = hit_together(limits, second, (parent,), second, second)
    assert [state.allowed for state in states] == [True, True, True, False]
    # What is told is what hinders: the child could make one more, the parent's first request leaves in 50 seconds.
    assert [(state.limit, state.remaining) for state in states] == [(5, 2), (5, 1), (5, 0), (5, 0)]
    assert (states[-1].retry_after, states[-1].reset_ms) == (50.0, 60_000)
    clock.advance(50)
    assert [state.allowed for state in hit_together(limits, second, second, second)] == [True, True, False]


def test_of_two_full_limits_the_one_that_lasts_longer_is_told(limits: RateLimits, clock: ManualClock) -> None:
    both = (("parent", 2), ("child", 1))
    hit_together(limits, (("parent", 2),))
    clock.advance(10)
    hit_together(limits, both)
    (refused,) = hit_together(limits, both)
    assert (refused.limit, refused.retry_after) == (1, 60.0)
