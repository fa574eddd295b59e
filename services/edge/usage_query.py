"""Reads the query of GET /v1/usage: from when to when, and by what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from services.edge.parsing import invalid
from tiermesh.billing.v1 import billing_pb2

# Without `from`, a report begins so many days before its last one: 30 days, if that is the running one.
_DEFAULT_DAYS = 29

_GROUPS = {
    "day": billing_pb2.USAGE_GROUP_DAY,
    "model": billing_pb2.USAGE_GROUP_MODEL,
    "key": billing_pb2.USAGE_GROUP_KEY,
}


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """Requests made from `begin` until before `end` count."""

    begin: datetime
    end: datetime
    group_by: str

    @property
    def group(self) -> billing_pb2.UsageGroup.ValueType:
        """What to add up by, as billing says it."""
        return _GROUPS[self.group_by]

    @property
    def from_ms(self) -> int:
        """The first moment that counts, in milliseconds since the Unix epoch."""
        return round(self.begin.timestamp() * 1000)

    @property
    def to_ms(self) -> int:
        """The first moment that does not."""
        return round(self.end.timestamp() * 1000)

    @property
    def from_text(self) -> str:
        """The first moment that counts, in ISO 8601."""
        return _iso(self.begin)

    @property
    def to_text(self) -> str:
        """The first moment that does not."""
        return _iso(self.end)


def parse_usage_query(query: Mapping[str, str], now: float) -> UsageQuery:
    """Returns the query with its defaults; raises MeshError INVALID_REQUEST. `now` is in seconds since 1970."""
    group_by = query.get("group_by", "day")
    if group_by not in _GROUPS:
        raise invalid("group_by", f"Invalid value for 'group_by': use one of {', '.join(_GROUPS)}.")
    end = _moment("to", query["to"], whole_day=True) if "to" in query else datetime.fromtimestamp(now, UTC)
    if "from" in query:
        begin = _moment("from", query["from"], whole_day=False)
    else:
        last_day = (end - timedelta(microseconds=1)).date()
        begin = datetime.combine(last_day - timedelta(days=_DEFAULT_DAYS), time(), UTC)
    if begin >= end:
        raise invalid("from", "'from' must lie before 'to', which is now unless it is given.")
    return UsageQuery(begin, end, group_by)


def _moment(name: str, text: str, *, whole_day: bool) -> datetime:
    """Reads a date or a datetime; a date means its first moment, or the first one after it."""
    try:
        if len(text) <= len("2026-11-30"):
            day = datetime.combine(date.fromisoformat(text), time(), UTC)
            return _checked(day + timedelta(days=1) if whole_day else day)
        moment = datetime.fromisoformat(text)
        return _checked(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        message = (
            f"Invalid value for '{name}': write a date such as 2026-11-30, or a datetime such as 2026-11-30T12:00:00Z "
            "(a + in a URL is written %2B)."
        )
        raise invalid(name, message) from None


def _checked(moment: datetime) -> datetime:
    """Returns the moment in UTC; raises ValueError for one that is not of this age."""
    utc = moment.astimezone(UTC)
    if not 1970 < utc.year < 9999:
        raise ValueError
    return utc


def _iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
