"""Reads billing's database beside billing, so that the ledger can be seen also while billing is down."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import sqlalchemy as sa

from services.common.database.base import Database
from services.common.errors import MeshError

_HOLDS = sa.text(
    "SELECT request_id, account_id, key_id, amount, state, outcome, reserved_ms, settled_ms, completion_tokens,"
    # Without those that only keep a late Reserve from being made.
    " runner_id FROM holds WHERE account_id <> ''"
)
_ENTRIES = sa.text("SELECT reference, kind, account_id, pocket, amount FROM entries ORDER BY entry_id")
_BALANCES = sa.text("SELECT account_id, available, held FROM balances")
# What a request has cost is what its entries took from the customer, whatever its hold says of itself.
_CHARGED = sa.text(
    "SELECT coalesce(-sum(amount), 0) FROM entries WHERE reference = :request_id AND account_id NOT LIKE 'system:%'"
)
# A deposit with what its entries have given, which is 0 for less than a credit.
_DEPOSITED = sa.text("""
    SELECT account_id, tx_hash, log_index, atomic, CAST(coalesce((
        SELECT sum(amount) FROM entries WHERE kind = 'deposit' AND entries.account_id = deposits.account_id
        AND reference = CAST(chain_id AS TEXT) || '\\:' || tx_hash || '\\:' || CAST(log_index AS TEXT)
    ), 0) AS BIGINT) FROM deposits ORDER BY deposit_id
""")
_NEXT_BLOCKS = sa.text("SELECT next_block FROM deposit_cursors")
_OPEN = sa.text("SELECT count(*) FROM holds WHERE state = 'open'")


@dataclass(frozen=True, slots=True)
class HoldRow:
    """One request as the ledger has it."""

    request_id: str
    account_id: str
    key_id: str
    amount: int
    state: str
    outcome: str
    reserved_ms: int
    settled_ms: int | None
    completion_tokens: int
    runner_id: str


@dataclass(frozen=True, slots=True)
class EntryRow:
    """One line of a movement."""

    reference: str
    kind: str
    account_id: str
    pocket: str
    amount: int


@dataclass(frozen=True, slots=True)
class DepositedRow:
    """One deposit, and the credits that its entries give."""

    account_id: str
    tx_hash: str
    log_index: int
    atomic: int
    entered: int


@dataclass(slots=True)
class Books:
    """All rows, on one snapshot."""

    holds: dict[str, list[HoldRow]] = field(default_factory=lambda: defaultdict(list))
    entries: dict[str, list[EntryRow]] = field(default_factory=lambda: defaultdict(list))
    # Available and held, by account.
    balances: dict[str, tuple[int, int]] = field(default_factory=dict)

    def charged(self, request_id: str) -> int:
        """What the customer has paid for a request."""
        return -sum(e.amount for e in self.entries.get(request_id, ()) if not e.account_id.startswith("system:"))

    def granted(self, account_id: str) -> int:
        """What the customer has been given, for deposits too."""
        lines = (line for lines in self.entries.values() for line in lines)
        given = (line for line in lines if line.kind in {"grant", "deposit"})
        return sum(line.amount for line in given if line.account_id == account_id)


class LedgerView:
    """Opens the database read-only in spirit: it never writes."""

    def __init__(self, url: str) -> None:
        self._database = Database(url)

    async def charged(self, request_id: str) -> int | None:
        """What a request has cost so far; None while the database cannot be read."""
        try:
            return await self._database.read(
                lambda connection: int(connection.execute(_CHARGED, {"request_id": request_id}).scalar_one())
            )
        except MeshError:
            return None

    async def none_open(self) -> bool:
        """Whether every hold has ended."""
        return await self._database.read(lambda connection: connection.execute(_OPEN).scalar_one() == 0)

    async def deposits(self) -> list[DepositedRow]:
        """Reads all deposits."""
        return await self._database.read(
            lambda connection: [DepositedRow(*row) for row in connection.execute(_DEPOSITED)]
        )

    async def watchers_have_read(self, block: int, watchers: int) -> bool:
        """Whether so many watchers have read a block."""
        found = await self._database.read(lambda connection: connection.execute(_NEXT_BLOCKS).scalars().all())
        return len([next_block for next_block in found if next_block > block]) == watchers

    async def books(self) -> Books:
        """Reads everything."""
        return await self._database.read(_read)

    async def close(self) -> None:
        """Closes the connection."""
        await self._database.close()


def _read(connection: sa.Connection) -> Books:
    books = Books()
    for row in connection.execute(_HOLDS):
        hold = HoldRow(*row)
        # By key, because each request has its own.
        books.holds[hold.key_id].append(hold)
    for row in connection.execute(_ENTRIES):
        entry = EntryRow(*row)
        books.entries[entry.reference].append(entry)
    for account_id, available, held in connection.execute(_BALANCES):
        books.balances[account_id] = available, held
    return books
