"""The days that a report covers, in UTC."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from services.common.clock import to_ms
from services.common.errors import Code, MeshError

# Without other wishes, a report covers this day and the 29 before it.
_DEFAULT_DAYS = 30
_MOST_DAYS = 366


@dataclass(frozen=True, slots=True)
class Period:
    """From the first moment of one day to the last moment of another."""

    first: date
    last: date

    @property
    def from_ms(self) -> int:
        """The first moment that counts, in milliseconds since the Unix epoch."""
        return _midnight_ms(self.first)

    @property
    def to_ms(self) -> int:
        """The first moment that does not count any more."""
        return _midnight_ms(self.last + timedelta(days=1))

    def days(self) -> Iterator[date]:
        """Yields every day."""
        for offset in range((self.last - self.first).days + 1):
            yield self.first + timedelta(days=offset)


def parse_period(query: Mapping[str, str], now: float) -> Period:
    """Returns the period of `from` and `to`; raises MeshError INVALID_REQUEST. `now` is in seconds since 1970."""
    today = datetime.fromtimestamp(now, UTC).date()
    last = _day("to", query.get("to", "")) or today
    if last == date.max:
        raise _wrong("to", "is too far in the future")
    first = _day("from", query.get("from", ""))
    if first is None:
        first = date.fromordinal(max(1, last.toordinal() - _DEFAULT_DAYS + 1))
    if first > last:
        raise _wrong("from", "must not be after the last day")
    if (last - first).days >= _MOST_DAYS:
        raise _wrong("from", f"must be at most {_MOST_DAYS} days before the last day")
    return Period(first, last)


def _day(name: str, text: str) -> date | None:
    if not text:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        raise _wrong(name, "must be a date such as 2026-11-30") from None


def _wrong(name: str, what: str) -> MeshError:
    return MeshError(Code.INVALID_REQUEST, f"The {'first' if name == 'from' else 'last'} day {what}.", param=name)


def _midnight_ms(day: date) -> int:
    return to_ms(datetime.combine(day, time(), UTC).timestamp())
