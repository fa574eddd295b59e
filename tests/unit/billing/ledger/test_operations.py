"""Which operations wait for the disk."""

from __future__ import annotations

from typing import get_args

import pytest

from services.billing.ledger.holds import Outcome
from services.billing.ledger.operations import Expire, Grant, MonthlyCap, Operation, Reserve, Settle, needs_sync
from services.billing.ledger.prices import Quote
from services.billing.ledger.wallet_payments import CoverWalletPayment, PayOut

RESERVE = Reserve("r", "acct", "key", Quote("pro", 1, 10))


@pytest.mark.parametrize("reserve", [RESERVE, RESERVE._replace(caps=(MonthlyCap("key", 100),))])
def test_a_hold_waits_for_no_disk(reserve: Reserve) -> None:
    assert not needs_sync(reserve)


@pytest.mark.parametrize(
    "operation",
    [
        RESERVE._replace(idempotency_key="k"),
        *(Settle("r", outcome) for outcome in Outcome),
        Expire("r"),
        Grant("g", "acct", 10),
        CoverWalletPayment("r"),
        PayOut("acct"),
    ],
    ids=str,
)
def test_what_is_told_to_last_waits_for_it(operation: Operation) -> None:
    assert needs_sync(operation)


def test_a_new_kind_of_operation_waits_for_it() -> None:
    unsynced = [kind for kind in get_args(Operation) if not needs_sync(kind.__new__(kind, *["x"] * len(kind._fields)))]
    # With an idempotency key, Reserve is none of them either.
    assert unsynced == []
