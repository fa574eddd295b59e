from __future__ import annotations

from services.common.retry.outage import Outage


def test_only_the_first_failure_is_news() -> None:
    outage = Outage()
    assert [outage.begin() for _ in range(3)] == [True, False, False]


def test_another_reason_is_news() -> None:
    outage = Outage()
    assert [outage.begin(reason) for reason in ("a", "a", "b", "b", "a")] == [True, False, True, False, True]


def test_a_success_ends_an_outage_once() -> None:
    outage = Outage()
    assert not outage.end()
    outage.begin("a")
    assert outage.end()
    assert not outage.end()
    assert outage.begin("a")
