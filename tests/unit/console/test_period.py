from __future__ import annotations

from datetime import date

import pytest

from services.common.errors import Code, MeshError
from services.console.period import Period, parse_period

# 2026-11-30 23:59:59 UTC.
NOW = 1_796_083_199.0
DAY_MS = 86_400_000


def test_without_a_wish_it_is_the_last_thirty_days() -> None:
    period = parse_period({}, NOW)
    assert period == Period(date(2026, 11, 1), date(2026, 11, 30))
    assert len(list(period.days())) == 30


def test_both_days_count_as_a_whole_in_utc() -> None:
    period = parse_period({"from": "2026-11-29", "to": "2026-11-30"}, NOW)
    assert (period.from_ms, period.to_ms) == (1_795_910_400_000, 1_795_910_400_000 + 2 * DAY_MS)
    assert list(period.days()) == [date(2026, 11, 29), date(2026, 11, 30)]


def test_the_first_day_follows_from_the_last() -> None:
    assert parse_period({"to": "2026-03-01"}, NOW).first == date(2026, 1, 31)
    assert parse_period({"from": "2026-11-02"}, NOW).last == date(2026, 11, 30)
    assert parse_period({"to": "0001-01-02"}, NOW).first == date.min


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"from": "yesterday"}, "from"),
        ({"from": "2026-02-30"}, "from"),
        ({"to": "2026-1-1T00:00"}, "to"),
        ({"to": "9999-12-31"}, "to"),
        ({"from": "2026-12-01"}, "from"),
        ({"from": "2025-11-01"}, "from"),
        ({"from": "\0"}, "from"),
    ],
)
def test_what_is_no_period_is_refused_without_being_repeated(query: dict[str, str], param: str) -> None:
    with pytest.raises(MeshError) as caught:
        parse_period(query, NOW)
    assert (caught.value.code, caught.value.param) == (Code.INVALID_REQUEST, param)
    assert all(value not in caught.value.message for value in query.values())
