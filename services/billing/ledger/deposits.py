"""Deposits: transfers of a token to the deposit address of an account, each credited exactly once.

A watcher reads a chain range by range. Billing takes a range whole: its deposits and the place of the watcher's cursor
change together or not at all. So a watcher that is killed, a second one beside it and a range that is sent again change
nothing. Credits come from the transfers themselves, never from the balance of an address.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from services.billing.ledger import refusals

# Smallest units of a token with six decimals in one credit, which is one US cent.
CREDIT_ATOMIC = 10_000
# The most that one account may deposit in total, in smallest units: far below what a database integer holds.
MAX_ATOMIC = 10**18
# The most that one transaction takes.
MAX_DEPOSITS = 20_000


class Cursor(NamedTuple):
    """Names one watcher of one token; the addresses and hashes of this module are in lower case."""

    chain_id: int
    token: str
    watcher: str


class Place(NamedTuple):
    """How far a watcher has read."""

    next_block: int
    # The hash of the block before it.
    last_hash: str


class DepositKey(NamedTuple):
    """What makes a transfer the same transfer."""

    chain_id: int
    tx_hash: str
    log_index: int


class Deposit(NamedTuple):
    """One transfer as a watcher has read it; `atomic` is positive."""

    tx_hash: str
    log_index: int
    block_number: int
    block_hash: str
    sender: str
    address: str
    atomic: int


class RecordDeposits(NamedTuple):
    """Take a range of blocks; its deposits are those to any deposit address.

    A range that ends before it begins is a part of what its first block has, for a block that has too much.
    """

    cursor: Cursor
    from_block: int
    to_block: int
    # The hash of the block before the range, and of its last block.
    parent_hash: str
    end_hash: str
    deposits: tuple[Deposit, ...]

    def key(self, deposit: Deposit) -> DepositKey:
        """Returns what identifies one of the deposits."""
        return DepositKey(self.cursor.chain_id, deposit.tx_hash, deposit.log_index)


class RecordedDeposit(NamedTuple):
    """A deposit and what was made of it; the order is that of the columns."""

    chain_id: int
    tx_hash: str
    log_index: int
    token: str
    block_number: int
    block_hash: str
    sender: str
    address: str
    account_id: str
    atomic: int
    credits: int
    at_ms: int

    @property
    def reference(self) -> str:
        """The reference of its movement."""
        return f"{self.chain_id}:{self.tx_hash}:{self.log_index}"

    @property
    def deposit(self) -> Deposit:
        """The transfer."""
        return Deposit(
            *(self.tx_hash, self.log_index, self.block_number, self.block_hash),
            *(self.sender, self.address, self.atomic),
        )


class DepositBooks:
    """What one transaction knows of deposits, and what it has to write.

    `owners` are the accounts by chain and address, `known` the deposits that are recorded, with all those of the same
    transactions of the chain, `totals` what each account has deposited so far, in smallest units.
    """

    def __init__(
        self,
        places: Mapping[Cursor, Place] | None = None,
        owners: Mapping[tuple[int, str], str] | None = None,
        known: Mapping[DepositKey, Deposit] | None = None,
        totals: Mapping[str, int] | None = None,
    ) -> None:
        self._places = dict(places or {})
        self._owners = owners or {}
        self._known = dict(known or {})
        # The block of each transaction of a chain that is recorded.
        self._blocks = {(key.chain_id, key.tx_hash): deposit.block_hash for key, deposit in self._known.items()}
        self._totals = dict(totals or {})
        # For each cursor that moves: where it stood, None if it is new, and where it stands then.
        self.moved: dict[Cursor, tuple[Place | None, Place]] = {}
        self.new_deposits: list[RecordedDeposit] = []
        self.new_totals: dict[str, int] = {}

    def take(self, asked: RecordDeposits, now_ms: int) -> list[RecordedDeposit]:
        """Returns what is new in a range, and moves its cursor; raises MeshError CONFLICT, having changed nothing."""
        place = self._places.get(asked.cursor)
        if place is not None and place.next_block != asked.from_block:
            raise refusals.cursor_moved(place.next_block)
        if place is not None and place.last_hash != asked.parent_hash:
            raise refusals.history_changed(asked.from_block - 1, place.last_hash, asked.parent_hash)
        chain_id, token, _ = asked.cursor
        taken = self._rows(chain_id, token, self._unknown(asked), now_ms)
        before, after = self.moved.get(asked.cursor, (place, None))[0], Place(asked.to_block + 1, asked.end_hash)
        self.moved[asked.cursor] = before, after
        self._places[asked.cursor] = after
        self._keep(taken)
        return taken

    def take_payment(
        self, chain_id: int, token: str, deposit: Deposit, account_id: str, now_ms: int
    ) -> RecordedDeposit:
        """Returns the deposit that a payment of a wallet is; raises MeshError CONFLICT, having changed nothing."""
        if DepositKey(chain_id, deposit.tx_hash, deposit.log_index) in self._known:
            raise refusals.deposit_differs(deposit.tx_hash, deposit.log_index)
        taken = self._rows(chain_id, token, [(deposit, account_id)], now_ms)
        self._keep(taken)
        return taken[0]

    def _keep(self, taken: list[RecordedDeposit]) -> None:
        for row in taken:
            self._known[DepositKey(row.chain_id, row.tx_hash, row.log_index)] = row.deposit
            self._blocks[row.chain_id, row.tx_hash] = row.block_hash
            self._totals[row.account_id] = self._totals.get(row.account_id, 0) + row.atomic
            self.new_totals[row.account_id] = self._totals[row.account_id]
        self.new_deposits += taken

    def _unknown(self, asked: RecordDeposits) -> Iterable[tuple[Deposit, str]]:
        """Returns the deposits to somebody's address that are not recorded yet, with their accounts.

        A transaction that history has moved to another block may have its logs at other places there, so that nothing
        but its hash tells that they were credited.
        """
        unknown: dict[DepositKey, Deposit] = {}
        blocks: dict[tuple[int, str], str] = {}
        for deposit in asked.deposits:
            key = asked.key(deposit)
            if (asked.cursor.chain_id, deposit.address) not in self._owners:
                continue
            transaction = asked.cursor.chain_id, deposit.tx_hash
            block = self._blocks.get(transaction) or blocks.setdefault(transaction, deposit.block_hash)
            before = self._known.get(key) or unknown.get(key)
            if block != deposit.block_hash or (before is not None and before != deposit):
                raise refusals.deposit_differs(deposit.tx_hash, deposit.log_index)
            if before is None:
                unknown[key] = deposit
        return [(deposit, self._owners[asked.cursor.chain_id, deposit.address]) for deposit in unknown.values()]

    def _rows(
        self, chain_id: int, token: str, unknown: Iterable[tuple[Deposit, str]], now_ms: int
    ) -> list[RecordedDeposit]:
        totals: dict[str, int] = {}
        rows = []
        for deposit, account in unknown:
            before = totals.get(account, self._totals.get(account, 0))
            total = totals[account] = before + deposit.atomic
            if total > MAX_ATOMIC:
                raise refusals.too_large_deposit(account, deposit.tx_hash)
            # What is less than a credit is kept, and counts with the next deposit.
            gained = total // CREDIT_ATOMIC - before // CREDIT_ATOMIC
            rows.append(
                RecordedDeposit(
                    *(chain_id, deposit.tx_hash, deposit.log_index, token, deposit.block_number, deposit.block_hash),
                    *(deposit.sender, deposit.address, account, deposit.atomic, gained, now_ms),
                )
            )
        return rows
