"""What API keys with a monthly cap have spent: captured and held credits, by calendar month (UTC)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from services.billing.ledger import refusals
from services.billing.ledger.holds import Hold
from services.billing.ledger.operations import Operation, Reserve


class KeyMonth(NamedTuple):
    """One key's month, from its first moment to that of the next, in milliseconds since the Unix epoch."""

    account_id: str
    key_id: str
    begins_ms: int
    ends_ms: int


def key_month(account_id: str, key_id: str, at_ms: int) -> KeyMonth:
    """The month in which something happens."""
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    begins = datetime(at.year, at.month, 1, tzinfo=UTC)
    ends = datetime(at.year + at.month // 12, at.month % 12 + 1, 1, tzinfo=UTC)
    return KeyMonth(account_id, key_id, int(begins.timestamp()) * 1000, int(ends.timestamp()) * 1000)


def asked_months(operations: Iterable[Operation], now_ms: int) -> set[KeyMonth]:
    """The months whose sums one transaction has to know; none while no key has a cap."""
    return {
        key_month(operation.account_id, operation.key_id, now_ms)
        for operation in operations
        if isinstance(operation, Reserve) and operation.key_monthly_cap
    }


class Spending:
    """The sums, as one transaction knows them. Holds made under a cap count, from the month in which they were made."""

    def __init__(self, known: Mapping[KeyMonth, int] | None = None) -> None:
        self._known = known or {}
        # What has to be added to the rows, also for months that nobody asked for.
        self.changes: dict[KeyMonth, int] = {}

    def check(self, hold: Hold) -> None:
        """Raises MeshError INSUFFICIENT_CREDITS if a new hold would exceed the cap of its key."""
        cap = hold.key_monthly_cap
        if cap is None:
            return
        month = _month_of(hold)
        spent = self._known.get(month, 0) + self.changes.get(month, 0)
        if spent + hold.amount > cap:
            resets = datetime.fromtimestamp(month.ends_ms / 1000, UTC).date()
            raise refusals.cap_reached(hold.model, hold.amount, cap, spent, resets)

    def add(self, hold: Hold, amount: int) -> None:
        """Counts credits that a hold has taken, or given back if negative."""
        if hold.key_monthly_cap is not None and amount:
            month = _month_of(hold)
            self.changes[month] = self.changes.get(month, 0) + amount


def _month_of(hold: Hold) -> KeyMonth:
    return key_month(hold.account_id, hold.key_id, hold.reserved_ms)
