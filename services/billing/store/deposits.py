"""The rows of deposits, of totals and of cursors, in the transaction that takes a range of blocks.

On PostgreSQL the cursors are locked first, and then the accounts. All transactions that lock a cursor do it in this
order, and so none waits for another in a circle. Who has locked an account may change what it has deposited.
"""

# ruff: noqa: S608 - every statement consists of constants.

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from services.billing.ledger.deposits import (
    Cursor,
    Deposit,
    DepositBooks,
    DepositKey,
    Place,
    RecordDeposits,
    RecordedDeposit,
)
from services.common.database.statements import copy_postgresql, execute_many_sqlite, fetch_postgresql, fetch_sqlite
from services.common.database.transactions import RetryTransaction, retry_if_row_exists

_CURSOR = "chain_id, token, watcher"
_DEPOSIT = "chain_id, tx_hash, log_index, block_number, block_hash, sender, address, atomic"
_ROW = ", ".join(RecordedDeposit._fields)
_SQLITE = {
    "cursors": f"""
        SELECT {_CURSOR}, next_block, last_hash FROM deposit_cursors WHERE ({_CURSOR}) IN (
            SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]')
            FROM json_each(?)
        )
    """,
    "owners": """
        SELECT chain_id, address, account_id FROM deposit_addresses WHERE (chain_id, address) IN (
            SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?)
        )
    """,
    "known": f"""
        SELECT {_DEPOSIT} FROM deposits WHERE (chain_id, tx_hash) IN (
            SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?)
        )
    """,
    "totals": """
        SELECT account_id, atomic FROM deposit_totals WHERE account_id IN (
            SELECT json_extract(value, '$[0]') FROM json_each(?)
        )
    """,
    "insert_cursor": f"INSERT INTO deposit_cursors ({_CURSOR}, next_block, last_hash) VALUES (?, ?, ?, ?, ?)",
    "move_cursor": """
        UPDATE deposit_cursors SET next_block = ?, last_hash = ?
        WHERE chain_id = ? AND token = ? AND watcher = ? AND next_block = ? RETURNING 1
    """,
    "insert_deposits": f"INSERT INTO deposits ({_ROW}) VALUES ({', '.join('?' * len(RecordedDeposit._fields))})",
    "set_totals": """
        INSERT INTO deposit_totals (account_id, atomic) VALUES (?, ?)
        ON CONFLICT (account_id) DO UPDATE SET atomic = excluded.atomic
    """,
}
# The arrays of one element are explained at the update of holds (store/postgresql.py). Cursors are few.
_POSTGRESQL = {
    "cursors": f"""
        SELECT {_CURSOR}, next_block, last_hash
        FROM unnest($1::bigint[], $2::text[], $3::text[]) AS asked ({_CURSOR}) JOIN deposit_cursors USING ({_CURSOR})
    """,
    "owners": """
        SELECT asked.chain_id, asked.address, account_id
        FROM unnest($1::bigint[], $2::text[]) AS asked (chain_id, address) JOIN deposit_addresses
            ON deposit_addresses.chain_id = ANY (ARRAY[asked.chain_id]) AND deposit_addresses.address = asked.address
    """,
    "known": f"""
        SELECT {", ".join(f"deposits.{name}" for name in _DEPOSIT.split(", "))}
        FROM unnest($1::bigint[], $2::text[]) AS asked (chain_id, tx_hash)
        JOIN deposits ON deposits.chain_id = ANY (ARRAY[asked.chain_id]) AND deposits.tx_hash = asked.tx_hash
    """,
    "totals": "SELECT account_id, atomic FROM deposit_totals WHERE account_id = ANY ($1::text[])",
    "insert_cursor": f"INSERT INTO deposit_cursors ({_CURSOR}, next_block, last_hash) VALUES ($1, $2, $3, $4, $5)",
    "move_cursor": """
        UPDATE deposit_cursors SET next_block = $1, last_hash = $2
        WHERE chain_id = $3 AND token = $4 AND watcher = $5 AND next_block = $6 RETURNING 1
    """,
    "set_totals": """
        INSERT INTO deposit_totals (account_id, atomic) SELECT * FROM unnest($1::text[], $2::bigint[])
        ON CONFLICT (account_id) DO UPDATE SET atomic = excluded.atomic
    """,
}
_LOCK = f" ORDER BY {_CURSOR} FOR UPDATE OF deposit_cursors"


class Claimed(NamedTuple):
    """What is read before the accounts are locked."""

    places: dict[Cursor, Place]
    # Accounts by chain and address.
    owners: dict[tuple[int, str], str]
    # Cursors that another process has locked, if it was not to wait for them.
    locked: set[Cursor]

    def accounts(self, operation: RecordDeposits) -> set[str]:
        """Returns the accounts that a range credits."""
        found = (self.owners.get((operation.cursor.chain_id, each.address)) for each in operation.deposits)
        return {account for account in found if account is not None}


NOTHING_CLAIMED = Claimed({}, {}, set())


def claim(connection: sa.Connection, asked: Sequence[RecordDeposits], *, skip_locked: bool) -> Claimed:
    """Locks and reads the cursors, and reads whose the addresses are, which never changes."""
    cursors = sorted({operation.cursor for operation in asked})
    rows = _read(connection, "cursors", cursors, suffix=_LOCK + (" SKIP LOCKED" if skip_locked else ""))
    places = {Cursor(*row[:3]): Place(*row[3:]) for row in rows}
    missing = [cursor for cursor in cursors if cursor not in places] if skip_locked else []
    locked = {Cursor(*row[:3]) for row in _read(connection, "cursors", missing)}
    addresses = {(operation.cursor.chain_id, each.address) for operation in asked for each in operation.deposits}
    owners = {(row[0], row[1]): row[2] for row in _read(connection, "owners", addresses)}
    return Claimed(places, owners, locked)


def read_books(
    connection: sa.Connection, asked: Sequence[RecordDeposits], claimed: Claimed, paid: Mapping[DepositKey, str]
) -> DepositBooks:
    """Reads the rest, once the accounts are locked; `paid` are the payments of wallets, with their accounts."""
    accounts = {(account,) for operation in asked for account in claimed.accounts(operation)}
    accounts.update((account,) for account in paid.values())
    transactions = {(key.chain_id, key.tx_hash) for key in paid}
    transactions |= {
        (operation.cursor.chain_id, each.tx_hash)
        for operation in asked
        for each in operation.deposits
        if (operation.cursor.chain_id, each.address) in claimed.owners
    }
    known = {DepositKey(*row[:3]): Deposit(*row[1:]) for row in _read(connection, "known", transactions)}
    totals = {row[0]: row[1] for row in _read(connection, "totals", accounts)}
    return DepositBooks(claimed.places, claimed.owners, known, totals)


def write_books(connection: sa.Connection, books: DepositBooks) -> None:
    """Writes what the ranges have changed, or has the transaction begin again because another process was faster."""
    with retry_if_row_exists():
        for cursor, (before, after) in books.moved.items():
            if before is None:
                _fetch(connection, "insert_cursor", *cursor, *after)
            elif not _fetch(connection, "move_cursor", *after, *cursor, before.next_block):
                raise RetryTransaction
        if books.new_deposits:
            _write_deposits(connection, books.new_deposits, sorted(books.new_totals.items()))


def _write_deposits(
    connection: sa.Connection, deposits: list[RecordedDeposit], totals: Collection[tuple[str, int]]
) -> None:
    if connection.dialect.name == "sqlite":
        execute_many_sqlite(connection, _SQLITE["insert_deposits"], deposits)
        execute_many_sqlite(connection, _SQLITE["set_totals"], list(totals))
    else:
        # In the chain's order everywhere: who inserts the same rows waits for another one in one direction only.
        rows = sorted(deposits, key=lambda row: (row.chain_id, row.block_number, row.log_index))
        copy_postgresql(connection, "deposits", RecordedDeposit._fields, rows)
        fetch_postgresql(connection, _POSTGRESQL["set_totals"], *_columns(totals))


def _read(
    connection: sa.Connection, name: str, rows: Iterable[tuple[Any, ...]], *, suffix: str = ""
) -> list[Sequence[Any]]:
    """Runs a statement that takes a table of parameters, unless it is empty; `suffix` locks what is read."""
    asked = list(rows)
    if not asked:
        return []
    if connection.dialect.name == "sqlite":
        return fetch_sqlite(connection, _SQLITE[name], json.dumps(asked))
    return fetch_postgresql(connection, _POSTGRESQL[name] + suffix, *_columns(asked))


def _fetch(connection: sa.Connection, name: str, *parameters: object) -> list[Sequence[Any]]:
    if connection.dialect.name == "sqlite":
        return fetch_sqlite(connection, _SQLITE[name], *parameters)
    return fetch_postgresql(connection, _POSTGRESQL[name], *parameters)


def _columns(rows: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]
