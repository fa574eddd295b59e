"""What watchers of chains do with the ledger: ask how far they have read, and hand over what they read next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from services.billing.committer import Committer
from services.billing.ledger import refusals
from services.billing.ledger.deposits import MAX_ATOMIC, MAX_DEPOSITS, Cursor, Deposit, Place, RecordDeposits
from services.billing.ledger.identifiers import check_address, check_chain, check_hash, check_id, check_number
from services.billing.store.deposit_history import NumberedDeposit

# How long a range may wait for its transaction, in seconds.
RECORD_TIMEOUT = 30.0
DEPOSIT_PAGE, MAX_DEPOSIT_PAGE = 100, 1_000


class DepositReader(Protocol):
    """Reads deposits; `DepositStore` is one."""

    async def place(self, cursor: Cursor) -> Place | None:
        """How far a watcher has read; None if it has read nothing."""

    async def deposits(self, account_id: str, before: int, limit: int) -> Sequence[NumberedDeposit]:
        """Deposits of an account (empty for all) before one (0 for the newest), newest first."""


class Deposits:
    """Ranges go through the same transactions as charges. Every method raises MeshError."""

    def __init__(self, committer: Committer, reader: DepositReader) -> None:
        self._committer = committer
        self._reader = reader

    async def place(self, cursor: Cursor) -> Place | None:
        """Returns how far a watcher has read; None if it has read nothing."""
        return await self._reader.place(_checked_cursor(cursor))

    async def record(self, asked: RecordDeposits) -> int:
        """Takes a range of blocks; returns how many credits accounts have received for it.

        Raises CONFLICT if the range does not begin at the cursor, or if the chain's history has changed.
        """
        return (await self._committer.execute(_checked(asked), RECORD_TIMEOUT)).amount

    async def page_of(self, account_id: str, before: int, size: int) -> tuple[Sequence[NumberedDeposit], bool]:
        """Returns a page of the deposits of one account, which must be named, as `page` does."""
        return await self.page(check_id("account_id", account_id), before, size)

    async def page(self, account_id: str, before: int, size: int) -> tuple[Sequence[NumberedDeposit], bool]:
        """Returns a page of the deposits of an account, or of all, newest first, and whether there are older ones."""
        if account_id:
            check_id("account_id", account_id)
        if size > MAX_DEPOSIT_PAGE:
            raise refusals.invalid("page_size", f"must be at most {MAX_DEPOSIT_PAGE}")
        if before < 0:
            raise refusals.invalid("before", "must not be negative")
        size = size or DEPOSIT_PAGE
        found = await self._reader.deposits(account_id, before, size + 1)
        return found[:size], len(found) > size


def _checked_cursor(cursor: Cursor) -> Cursor:
    token, watcher = check_address("cursor.token", cursor.token), check_id("cursor.watcher", cursor.watcher)
    return Cursor(check_chain(cursor.chain_id), token, watcher)


def _checked(asked: RecordDeposits) -> RecordDeposits:
    # A part of what one block has ends where it begins: the cursor stays.
    is_part = asked.end_hash == asked.parent_hash
    if check_number("to_block", asked.to_block) < check_number("from_block", asked.from_block) - is_part:
        raise refusals.invalid("to_block", "must not be before from_block")
    if len(asked.deposits) > MAX_DEPOSITS:
        raise refusals.invalid("deposits", f"must be at most {MAX_DEPOSITS:,}. Send a shorter range of blocks")
    return RecordDeposits(
        *(_checked_cursor(asked.cursor), asked.from_block, asked.to_block),
        *(check_hash("parent_hash", asked.parent_hash), check_hash("end_hash", asked.end_hash)),
        tuple(_checked_deposit(deposit, asked) for deposit in asked.deposits),
    )


def _checked_deposit(deposit: Deposit, asked: RecordDeposits) -> Deposit:
    if not asked.from_block <= deposit.block_number <= max(asked.to_block, asked.from_block):
        raise refusals.invalid("deposits.block_number", "must be in the range of blocks")
    if not 0 < deposit.atomic <= MAX_ATOMIC:
        raise refusals.invalid("deposits.atomic", f"must be from 1 to {MAX_ATOMIC}")
    return Deposit(
        *(check_hash("deposits.tx_hash", deposit.tx_hash), check_number("deposits.log_index", deposit.log_index)),
        *(deposit.block_number, check_hash("deposits.block_hash", deposit.block_hash)),
        *(check_address("deposits.sender", deposit.sender), check_address("deposits.address", deposit.address)),
        deposit.atomic,
    )
