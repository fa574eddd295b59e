"""The columns of holds and grants, in the order of the fields of `Hold` and `Grant`."""

from __future__ import annotations

from dataclasses import fields

from services.billing.ledger.holds import Hold
from services.billing.ledger.operations import Grant

HOLD_COLUMNS = tuple(field.name for field in fields(Hold))
GRANT_COLUMNS = Grant._fields


def hold_row(hold: Hold) -> tuple[object, ...]:
    """A whole row of holds."""
    return (
        *(hold.request_id, hold.account_id, hold.key_id, hold.model),
        *(hold.quantity, hold.unit_price, hold.amount, hold.reserved_ms),
        *hold_end(hold),
        *(hold.key_monthly_cap, hold.idempotency_key, hold.capped_keys),
    )


def hold_end(hold: Hold) -> tuple[object, ...]:
    """The columns that ending a hold changes: the six from `state` on."""
    return (
        *(hold.state, hold.outcome, hold.prompt_tokens, hold.completion_tokens),
        *(hold.runner_id, hold.settled_ms),
    )
