from __future__ import annotations

from services.cli.local.child import FIRST_SECONDS, LONGEST_SECONDS, STABLE_SECONDS, RestartDelay


def test_a_crash_loop_slows_down_to_a_limit() -> None:
    delay = RestartDelay()
    delays = [delay.after(0.1) for _ in range(7)]
    assert delays[:3] == [FIRST_SECONDS, 2 * FIRST_SECONDS, 4 * FIRST_SECONDS]
    assert delays[-1] == LONGEST_SECONDS


def test_a_stable_life_is_forgiven() -> None:
    delay = RestartDelay()
    for _ in range(5):
        delay.after(0.1)
    assert delay.after(STABLE_SECONDS) == FIRST_SECONDS
