"""What GET /v1/usage understands, and its defaults."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from services.common.errors import Code, MeshError
from services.edge.account.usage import parse_usage_query

NOW = datetime(2026, 11, 30, 15, 45, 0, 250_000, tzinfo=UTC).timestamp()


def test_without_parameters_it_is_the_last_30_days_by_day() -> None:
    query = parse_usage_query({}, NOW)
    assert query.group_by == "day"
    assert (query.from_text, query.to_text) == ("2026-11-01T00:00:00Z", "2026-11-30T15:45:00.250000Z")


@pytest.mark.parametrize(
    ("given", "begin", "end"),
    [
        # The day that `to` names counts.
        ({"from": "2026-11-01", "to": "2026-11-02"}, "2026-11-01T00:00:00Z", "2026-11-03T00:00:00Z"),
        ({"from": "2026-11-01T08:00", "to": "2026-11-01T09:00:00Z"}, "2026-11-01T08:00:00Z", "2026-11-01T09:00:00Z"),
        (
            {"from": "2026-11-01T00:00:00+02:00", "to": "2026-11-01"},
            "2026-10-31T22:00:00Z",
            "2026-11-02T00:00:00Z",
        ),
        ({"to": "2026-01-30"}, "2026-01-01T00:00:00Z", "2026-01-31T00:00:00Z"),
    ],
)
def test_dates_and_datetimes_are_understood(given: dict[str, str], begin: str, end: str) -> None:
    query = parse_usage_query(given, NOW)
    assert (query.from_text, query.to_text) == (begin, end)
    assert query.from_ms == int(datetime.fromisoformat(begin).timestamp() * 1000)


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"group_by": "runner"}, "group_by"),
        ({"group_by": ""}, "group_by"),
        ({"from": "yesterday"}, "from"),
        ({"from": ""}, "from"),
        ({"to": "2026-13-01"}, "to"),
        ({"to": "9999-12-31"}, "to"),
        ({"from": "0001-01-01T00:00:00+14:00"}, "from"),
        ({"to": "9999-12-31T23:59:59-14:00"}, "to"),
        # A plus that was not escaped has become a space.
        ({"from": "2026-11-01T00:00:00 02:00"}, "from"),
        ({"from": "1700000000"}, "from"),
        ({"from": "2026-11-03", "to": "2026-11-02"}, "from"),
        ({"from": "2026-12-01"}, "from"),
    ],
)
def test_mistakes_name_the_parameter(given: dict[str, str], param: str) -> None:
    with pytest.raises(MeshError) as raised:
        parse_usage_query(given, NOW)
    assert (raised.value.code, raised.value.param) == (Code.INVALID_REQUEST, param)
