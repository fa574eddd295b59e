"""Payouts, checked before they reach the ledger or its database."""

from __future__ import annotations

from collections.abc import Sequence

from services.billing.committer import Committer
from services.billing.ledger import refusals
from services.billing.ledger.identifiers import check_hash, check_id, check_number, check_text
from services.billing.ledger.wallet_payments import PayOut, Payout
from services.billing.store.payouts import PayoutStore, WalletBalance

# How long a payout may wait for its transaction, in seconds.
_TIMEOUT = 30.0
_PAGE, _MAX_PAGE = 100, 1_000


class Payouts:
    """Every method raises MeshError."""

    def __init__(self, committer: Committer, store: PayoutStore) -> None:
        self._committer = committer
        self._store = store

    async def balances(self, after: str, size: int) -> tuple[Sequence[WalletBalance], bool]:
        """Returns a page of the wallets that have something, and whether there are more."""
        if size > _MAX_PAGE:
            raise refusals.invalid("page_size", f"must be at most {_MAX_PAGE}")
        size = size or _PAGE
        found = await self._store.balances(check_text("after_account_id", after), size + 1)
        return found[:size], len(found) > size

    async def open(self, account_id: str) -> Payout:
        """Takes what a wallet has not spent out of its balance; a payout that is not recorded yet is returned again."""
        await self._committer.execute(PayOut(check_id("account_id", account_id)), _TIMEOUT)
        return await self._store.open(account_id)

    async def record(self, payout_id: str, tx_hash: str, log_index: int, block_number: int, block_hash: str) -> bool:
        """Notes the transfer of a payout; returns whether it was new."""
        return await self._store.record(
            check_text("payout_id", payout_id),
            tx_hash=check_hash("tx_hash", tx_hash),
            log_index=check_number("log_index", log_index),
            block_number=check_number("block_number", block_number),
            block_hash=check_hash("block_hash", block_hash),
        )
