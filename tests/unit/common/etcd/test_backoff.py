from __future__ import annotations

import pytest

from services.common.etcd.backoff import Backoff


def test_delays_double_up_to_one_second() -> None:
    backoff = Backoff(random=lambda: 1.0)
    delays = [backoff.next() for _ in range(7)]
    assert delays == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0])


def test_jitter_takes_away_up_to_half() -> None:
    assert Backoff(random=lambda: 0.0).next() == pytest.approx(0.025)
    assert Backoff(random=lambda: 0.5).next() == pytest.approx(0.0375)


def test_a_success_starts_over() -> None:
    backoff = Backoff(random=lambda: 1.0)
    for _ in range(5):
        backoff.next()
    backoff.reset()
    assert backoff.next() == pytest.approx(0.05)
