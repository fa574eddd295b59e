from __future__ import annotations

import pytest

from services.common.retry.backoff import Backoff


def test_delays_double_up_to_the_longest() -> None:
    backoff = Backoff(0.05, 1.0, random=lambda: 1.0)
    delays = [backoff.next() for _ in range(7)]
    assert delays == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0])


def test_jitter_takes_away_up_to_its_share() -> None:
    assert Backoff(0.05, 1.0, random=lambda: 0.0).next() == pytest.approx(0.025)
    assert Backoff(0.05, 1.0, random=lambda: 0.5).next() == pytest.approx(0.0375)
    assert Backoff(1.0, 1.0, jitter=0.2, random=lambda: 0.0).next() == pytest.approx(0.8)


def test_without_jitter_nothing_is_random() -> None:
    def never() -> float:
        raise AssertionError("there is nothing to draw")

    backoff = Backoff(0.1, 0.3, jitter=0.0, random=never)
    assert [backoff.next() for _ in range(4)] == [0.1, 0.2, 0.3, 0.3]


def test_a_success_starts_over() -> None:
    backoff = Backoff(0.05, 1.0, random=lambda: 1.0)
    for _ in range(5):
        backoff.next()
    backoff.reset()
    assert backoff.next() == pytest.approx(0.05)


async def test_a_pause_takes_the_next_delay() -> None:
    backoff = Backoff(0.0, 1.0, jitter=0.0)
    await backoff.pause()
    # Twice nothing is nothing: the delay was taken, and no time passed.
    assert backoff.next() == 0.0
