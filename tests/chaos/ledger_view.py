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
        """What the customer has been given."""
        lines = (line for lines in self.entries.values() for line in lines)
        return sum(line.amount for line in lines if line.kind == "grant" and line.account_id == account_id)


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
