"""Idempotency keys: of all requests of an account with one key, at most one is open or charged.

A request that ended free gives its key back: whoever repeats it gets an answer, and pays for one at most.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from services.billing.ledger import refusals
from services.billing.ledger.holds import Hold, Outcome, State
from services.billing.ledger.operations import Operation, Reserve


class IdempotencyKey(NamedTuple):
    """A key belongs to its account: two customers may choose the same."""

    account_id: str
    key: str


def asked_keys(operations: Iterable[Operation], holds: Mapping[str, Hold]) -> set[IdempotencyKey]:
    """The keys whose holders one transaction has to know; usually none."""
    keys = {
        IdempotencyKey(operation.account_id, operation.idempotency_key)
        for operation in operations
        if isinstance(operation, Reserve) and operation.idempotency_key
    }
    # An expired hold has given its key back, and may want it again.
    expired = (_key_of(hold) for hold in holds.values() if hold.outcome == Outcome.EXPIRED)
    return keys.union(key for key in expired if key is not None)


class Claims:
    """Who has which key, as one transaction knows it."""

    def __init__(self, holders: Mapping[IdempotencyKey, Hold] | None = None) -> None:
        self._holders = dict(holders or {})

    def claim(self, hold: Hold) -> None:
        """Gives a hold the key that it carries, if any; raises MeshError CONFLICT if another hold has it."""
        key = _key_of(hold)
        if key is None:
            return
        holder = self._holders.get(key)
        if holder is not None and holder.request_id != hold.request_id:
            if holder.state == State.OPEN:
                raise refusals.still_running(holder.request_id)
            if holder.state == State.CAPTURED:
                raise refusals.already_charged(holder.request_id, holder.amount)
        self._holders[key] = hold


def _key_of(hold: Hold) -> IdempotencyKey | None:
    return IdempotencyKey(hold.account_id, hold.idempotency_key) if hold.idempotency_key else None
