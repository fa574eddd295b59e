from __future__ import annotations

from collections import deque

from hypothesis import given, settings
from hypothesis import strategies as st
from limits import RateLimitItemPerMinute
from limits.strategies import MovingWindowRateLimiter

from services.auth.rate_limits.window import MAX_ENTRIES, RateWindowStorage
from tests.unit.auth.manual_clock import ManualClock

# Whole sixteenths are exact in binary, so the model below needs no tolerance.
pauses = st.lists(st.integers(0, 400).map(lambda sixteenths: sixteenths / 16), min_size=1, max_size=200)


@given(pauses=pauses, limit=st.integers(1, 8))
def test_a_small_limit_is_exact(pauses: list[float], limit: int) -> None:
    clock = ManualClock(0.0)
    limiter = MovingWindowRateLimiter(RateWindowStorage(clock))
    allowed: deque[float] = deque()
    for pause in pauses:
        clock.advance(pause)
        while allowed and allowed[0] <= clock.now - 60:
            allowed.popleft()
        expected = len(allowed) < limit
        assert limiter.hit(RateLimitItemPerMinute(limit), "key") == expected
        if expected:
            allowed.append(clock.now)
        assert limiter.get_window_stats(RateLimitItemPerMinute(limit), "key") == (allowed[0] + 60, limit - len(allowed))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.floats(0, 20), st.integers(1, 900)), min_size=1, max_size=20))
def test_a_large_limit_holds_in_every_window_and_loses_little(bursts: list[tuple[float, int]]) -> None:
    limit, step = MAX_ENTRIES + 1, 60 / MAX_ENTRIES
    clock = ManualClock(0.0)
    storage = RateWindowStorage(clock)
    allowed: list[float] = []
    for pause, size in bursts:
        clock.advance(pause)
        for _ in range(size):
            if storage.acquire_entry("key", limit, 60):
                allowed.append(clock.now)
                # The request that is one more than the limit back has left the window by now.
                assert len(allowed) <= limit or allowed[-limit - 1] + 60 <= clock.now
            else:
                # As many as the limit allows were made in a window that is one step longer.
                assert allowed[-limit] + 60 + step >= clock.now


def test_a_large_limit_takes_no_more_memory_than_a_small_one() -> None:
    clock = ManualClock(0.0)
    storage = RateWindowStorage(clock)
    for _ in range(100_000):
        clock.advance(60 / 100_000)
        assert storage.acquire_entry("key", 100_000, 60)
    assert storage.get_moving_window("key", 100_000, 60)[1] >= 99_800
    window = storage._windows["key"]
    assert len(window.entries) <= MAX_ENTRIES + 2


def test_windows_that_ran_empty_are_forgotten_and_others_are_not() -> None:
    clock = ManualClock(0.0)
    storage = RateWindowStorage(clock)
    for number in range(1000):
        storage.acquire_entry(f"old {number}", 1, 60)
    clock.advance(59)
    storage.acquire_entry("busy", 1, 60)
    clock.advance(2)
    for number in range(1000):
        storage.acquire_entry(f"new {number}", 1, 60)
    assert len(storage) == 1001
    assert not storage.acquire_entry("busy", 1, 60)


def test_a_window_can_be_cleared() -> None:
    storage = RateWindowStorage(ManualClock())
    for key in ("a", "b"):
        assert storage.acquire_entry(key, 1, 60)
    storage.clear("a")
    assert storage.acquire_entry("a", 1, 60)
    assert not storage.acquire_entry("b", 1, 60)
    assert storage.reset() == 2
    assert storage.acquire_entry("b", 1, 60)
    assert not storage.acquire_entry("b", 1, 60, amount=2)
    assert storage.check()
