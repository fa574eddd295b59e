"""Billing, which dies before each of its transactions, and after the commit, when nobody has heard of it yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from services.billing.__main__ import serve
from services.billing.ledger.operations import Operation
from services.billing.store.store import LedgerStore
from services.billing.store.wallet_payments import WalletPaymentStore
from services.common.lifecycle.process import run_service
from tests.integration.x402.mortal.failpoints import die_at, plant

_commit = LedgerStore.commit


async def commit(store: LedgerStore, operations: Sequence[Operation], now_ms: int) -> Any:
    """Stands in for `LedgerStore.commit`: a point is named by a kind of operation."""
    kinds = {type(operation).__name__ for operation in operations}
    for kind in kinds:
        die_at(f"billing before {kind}")
    result = await _commit(store, operations, now_ms)
    for kind in kinds:
        die_at(f"billing after {kind}")
    return result


if __name__ == "__main__":
    plant("billing", WalletPaymentStore, claim="claim", send="write_down", end="end")
    # mypy rightly dislikes that a method is replaced.
    LedgerStore.commit = commit  # type: ignore[method-assign, assignment]
    run_service(serve)
