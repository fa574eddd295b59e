"""Reads deposits and cursors, and keeps deposit addresses: what no hot path does."""

from __future__ import annotations

from typing import NamedTuple

import sqlalchemy as sa

from services.billing.ledger.deposit_addresses import DepositAddress
from services.billing.ledger.deposits import Cursor, Place, RecordedDeposit
from services.common.database.base import Database
from services.common.database.lanes import Lane
from services.common.database.transactions import RetryTransaction

_PLACE = sa.text("""
    SELECT next_block, last_hash FROM deposit_cursors
    WHERE chain_id = :chain_id AND token = :token AND watcher = :watcher
""")
_DEPOSITS = f"SELECT deposit_id, {', '.join(RecordedDeposit._fields)} FROM deposits WHERE deposit_id < :before"  # noqa: S608 - constants only
_NEWEST = " ORDER BY deposit_id DESC LIMIT :limit"
_ADDRESS = ", ".join(DepositAddress._fields)
_ADDRESSES = f"SELECT {_ADDRESS} FROM deposit_addresses WHERE position > :after"  # noqa: S608 - constants only
_OF_ACCOUNT = " AND account_id = :account_id"
_OF_CHAIN = " AND chain_id = :chain_id"
_BY_POSITION = " ORDER BY position, chain_id LIMIT :limit"
_NEXT_INDEX = sa.text("SELECT coalesce(max(address_index) + 1, 0) FROM deposit_addresses WHERE xpub_id = :xpub_id")
_NEXT_POSITION = sa.text("SELECT coalesce(max(position), 0) + 1 FROM deposit_addresses WHERE chain_id = :chain_id")
_ADD = sa.text(f"""
    INSERT INTO deposit_addresses ({_ADDRESS}) VALUES ({", ".join(f":{name}" for name in DepositAddress._fields)})
    ON CONFLICT DO NOTHING RETURNING 1
""")  # noqa: S608 - constants only

# More than any deposit has.
_NEVER = 2**63 - 1


class NumberedDeposit(NamedTuple):
    """A deposit and its place in the list."""

    deposit_id: int
    deposit: RecordedDeposit


class DepositStore:
    """The rows of one database. Every method raises MeshError UNAVAILABLE while the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def place(self, cursor: Cursor) -> Place | None:
        """How far a watcher has read; None if it has read nothing."""

        def read(connection: sa.Connection) -> Place | None:
            row = connection.execute(_PLACE, cursor._asdict()).first()
            return Place(*row) if row is not None else None

        return await self._database.read(read)

    async def deposits(self, account_id: str, before: int, limit: int) -> list[NumberedDeposit]:
        """Deposits of an account (empty for all) before one (0 for the newest), newest first."""
        query = sa.text(_DEPOSITS + (_OF_ACCOUNT if account_id else "") + _NEWEST)
        parameters = {"before": before or _NEVER, "limit": limit} | _given(account_id=account_id)

        def read(connection: sa.Connection) -> list[NumberedDeposit]:
            rows = connection.execute(query, parameters)
            return [NumberedDeposit(row[0], RecordedDeposit(*row[1:])) for row in rows]

        return await self._database.read(read, Lane.REPORT)

    async def address_of(self, chain_id: int, account_id: str, xpub_id: str) -> tuple[DepositAddress | None, int]:
        """An account's address on a chain, and the next index of a key."""

        def read(connection: sa.Connection) -> tuple[DepositAddress | None, int]:
            found = _read_addresses(connection, chain_id, account_id, 0, 1)
            return (found[0] if found else None), _next_index(connection, xpub_id)

        return await self._database.read(read)

    async def add_address(self, address: DepositAddress) -> DepositAddress | None:
        """Adds an address at the next position; returns the account's, or None if the index or the address is used.

        Two processes that add at once meet at a unique index, and the later one starts over. So no position and no
        index is ever left out, and whoever reads a position has seen all lower ones.
        """

        def add(connection: sa.Connection) -> DepositAddress | None:
            found = _read_addresses(connection, address.chain_id, address.account_id, 0, 1)
            if found:
                return found[0]
            if _next_index(connection, address.xpub_id) != address.address_index or _is_used(connection, address):
                return None
            position = connection.execute(_NEXT_POSITION, {"chain_id": address.chain_id}).scalar_one()
            new = address._replace(position=position)
            if connection.execute(_ADD, new._asdict()).first() is None:
                raise RetryTransaction
            return new

        return await self._database.transaction(add)

    async def addresses(self, chain_id: int, account_id: str, after: int, limit: int) -> list[DepositAddress]:
        """Addresses of a chain (0 for all) and an account (empty for all), by position."""
        return await self._database.read(
            lambda connection: _read_addresses(connection, chain_id, account_id, after, limit), Lane.REPORT
        )


def _read_addresses(
    connection: sa.Connection, chain_id: int, account_id: str, after: int, limit: int
) -> list[DepositAddress]:
    query = _ADDRESSES + (_OF_CHAIN if chain_id else "") + (_OF_ACCOUNT if account_id else "") + _BY_POSITION
    parameters = {"after": after, "limit": limit} | _given(chain_id=chain_id, account_id=account_id)
    return [DepositAddress(*row) for row in connection.execute(sa.text(query), parameters)]


def _next_index(connection: sa.Connection, xpub_id: str) -> int:
    return int(connection.execute(_NEXT_INDEX, {"xpub_id": xpub_id}).scalar_one())


def _is_used(connection: sa.Connection, address: DepositAddress) -> bool:
    query = sa.text("SELECT 1 FROM deposit_addresses WHERE chain_id = :chain_id AND address = :address")
    used = connection.execute(query, {"chain_id": address.chain_id, "address": address.address}).first()
    return used is not None


def _given(**parameters: int | str) -> dict[str, int | str]:
    return {name: value for name, value in parameters.items() if value}
