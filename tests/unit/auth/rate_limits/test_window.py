from __future__ import annotations

from collections import deque

from hypothesis import given, settings
from hypothesis import strategies as st

from services.auth.rate_limits.window import MAX_ENTRIES, MovingWindow, MovingWindows

# Whole sixteenths are exact in binary, so the model below needs no tolerance.
pauses = st.lists(st.integers(0, 400).map(lambda sixteenths: sixteenths / 16), min_size=1, max_size=200)


@given(pauses=pauses, limit=st.integers(1, 8))
def test_a_small_limit_is_exact(pauses: list[float], limit: int) -> None:
    now = 0.0
    window = MovingWindow(60)
    allowed: deque[float] = deque()
    for pause in pauses:
        now += pause
        while allowed and allowed[0] <= now - 60:
            allowed.popleft()
        expected = len(allowed) < limit
        assert window.acquire(now, limit) == expected
        if expected:
            allowed.append(now)
        assert (window.next_free, window.empty, window.used) == (allowed[0] + 60, allowed[-1] + 60, len(allowed))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.floats(0, 20), st.integers(1, 900)), min_size=1, max_size=20))
def test_a_large_limit_holds_in_every_window_and_loses_little(bursts: list[tuple[float, int]]) -> None:
    limit, step = MAX_ENTRIES + 1, 60 / MAX_ENTRIES
    now = 0.0
    window = MovingWindow(60)
    allowed: list[float] = []
    for pause, size in bursts:
        now += pause
        for _ in range(size):
            if window.acquire(now, limit):
                allowed.append(now)
                # The request that is one more than the limit back has left the window by now.
                assert len(allowed) <= limit or allowed[-limit - 1] + 60 <= now
            else:
                # As many as the limit allows were made in a window that is one step longer.
                assert allowed[-limit] + 60 + step >= now


def test_a_large_limit_takes_no_more_memory_than_a_small_one() -> None:
    now = 0.0
    window = MovingWindow(60)
    for _ in range(100_000):
        now += 60 / 100_000
        assert window.acquire(now, 100_000)
    window.forget_old(now)
    assert window.used >= 99_800
    assert len(window) <= MAX_ENTRIES + 2


def test_windows_that_ran_empty_are_forgotten_and_others_are_not() -> None:
    windows = MovingWindows(60)

    def acquire(name: str, now: float) -> bool:
        return windows.window(name, now).acquire(now, 1)

    for number in range(1000):
        assert acquire(f"old {number}", 0.0)
    assert acquire("busy", 59.0)
    for number in range(1000):
        assert acquire(f"new {number}", 61.0)
    assert len(windows) == 1001
    assert not acquire("busy", 61.0)
