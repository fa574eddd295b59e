"""What was spent under the monthly caps of API keys: captured and held credits, by calendar month (UTC).

A key's cap binds what it spends together with its rotations and all keys that descend from them. So a request may count
under the ids of several keys; auth says which.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from services.billing.ledger import refusals
from services.billing.ledger.holds import Hold
from services.billing.ledger.operations import MonthlyCap, Operation, Reserve


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
        key_month(operation.account_id, cap.key_id, now_ms)
        for operation in operations
        if isinstance(operation, Reserve)
        for cap in operation.caps
    }


def capped_keys(key_id: str, caps: Sequence[MonthlyCap]) -> str | None:
    """What a hold keeps of the caps that it is made under: None if its own key's is the only one."""
    counted = [cap.key_id for cap in caps]
    return None if counted in ([], [key_id]) else json.dumps(counted)


class Spending:
    """The sums, as one transaction knows them. Holds made under a cap count, from the month in which they were made."""

    def __init__(self, known: Mapping[KeyMonth, int] | None = None) -> None:
        self._known = known or {}
        # What has to be added to the rows, also for months that nobody asked for.
        self.changes: dict[KeyMonth, int] = {}

    def check(self, hold: Hold, caps: Sequence[MonthlyCap]) -> None:
        """Raises MeshError INSUFFICIENT_CREDITS if a new hold would exceed one of the caps that it is made under."""
        for cap in caps:
            month = key_month(hold.account_id, cap.key_id, hold.reserved_ms)
            spent = self._known.get(month, 0) + self.changes.get(month, 0)
            if spent + hold.amount > cap.credits:
                resets = datetime.fromtimestamp(month.ends_ms / 1000, UTC).date()
                raise refusals.cap_reached(hold.model, hold.amount, cap.credits, cap.key_id, spent, resets)

    def add(self, hold: Hold, amount: int) -> None:
        """Counts credits that a hold has taken, or given back if negative."""
        if not amount:
            return
        for key_id in hold.counted_under:
            month = key_month(hold.account_id, key_id, hold.reserved_ms)
            self.changes[month] = self.changes.get(month, 0) + amount
