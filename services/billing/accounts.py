"""What operators do with an account's credits: grant them and look at them."""

from __future__ import annotations

import secrets
from typing import Protocol

from services.billing.committer import Committer
from services.billing.ledger import refusals
from services.billing.ledger.identifiers import check_id, check_text
from services.billing.ledger.ledger import MAX_CREDITS, Balance
from services.billing.ledger.operations import Grant

# How long a grant may wait for its transaction, in seconds.
GRANT_TIMEOUT = 30.0


class ReadBalance(Protocol):
    """Reads one account's balance; `LedgerStore.balance` is one."""

    async def __call__(self, account_id: str) -> Balance:
        """Returns the balance; raises MeshError UNAVAILABLE."""


class Accounts:
    """Grants go through the same transactions as charges, so that both see one order of events."""

    def __init__(self, committer: Committer, read_balance: ReadBalance) -> None:
        self._committer = committer
        self._read_balance = read_balance

    async def grant(self, account_id: str, amount: int, grant_id: str, note: str) -> tuple[str, Balance]:
        """Adds credits, once for each grant id; returns the id (a new one for an empty one) and the balance.

        Raises MeshError INVALID_REQUEST, and CONFLICT for a grant id that was used for something else.
        """
        check_id("account_id", account_id)
        if not 0 < amount <= MAX_CREDITS:
            raise refusals.invalid("credits", f"must be from 1 to {MAX_CREDITS}")
        grant_id = check_id("grant_id", grant_id or f"grant_{secrets.token_hex(12)}")
        grant = Grant(grant_id, account_id, amount, check_text("note", note))
        receipt = await self._committer.execute(grant, GRANT_TIMEOUT)
        return grant_id, Balance(receipt.available, receipt.held)

    async def balance(self, account_id: str) -> Balance:
        """Returns what an account owns; nothing, for one that the ledger has never seen."""
        return await self._read_balance(check_id("account_id", account_id))
