"""The hot path's SQL for SQLite. One writer at a time holds the database, so that reading needs no locks."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from itertools import chain

import sqlalchemy as sa

from services.billing.ledger.holds import Hold
from services.billing.ledger.ledger import Balance, Ledger
from services.billing.ledger.operations import Grant
from services.billing.store.columns import GRANT_COLUMNS, HOLD_COLUMNS, hold_end, hold_row
from services.common.database.statements import execute_many_sqlite, fetch_sqlite

# A list is one JSON parameter: the text stays the same for every batch size, so that its plan is always cached.
_IN = "IN (SELECT value FROM json_each(?))"
_READ_HOLDS = f"SELECT {', '.join(HOLD_COLUMNS)} FROM holds WHERE request_id {_IN}"  # noqa: S608 - constants only
_READ_BALANCES = f"SELECT account_id, available, held FROM balances WHERE account_id {_IN}"  # noqa: S608 - constants only
_READ_GRANTS = f"SELECT {', '.join(GRANT_COLUMNS)} FROM grants WHERE grant_id {_IN}"  # noqa: S608 - constants only

_INSERT_HOLDS = f"INSERT INTO holds ({', '.join(HOLD_COLUMNS)}) VALUES ({', '.join('?' * len(HOLD_COLUMNS))})"  # noqa: S608 - constants only
_END_HOLDS = """
    UPDATE holds SET state = ?, outcome = ?, prompt_tokens = ?, completion_tokens = ?, runner_id = ?, settled_ms = ?
    WHERE request_id = ?
"""
_INSERT_ENTRIES = """
    INSERT INTO entries (reference, kind, account_id, pocket, amount, at_ms) VALUES (?, ?, ?, ?, ?, ?)
"""
_INSERT_BALANCES = "INSERT INTO balances (available, held, account_id) VALUES (?, ?, ?)"
_CHANGE_BALANCES = "UPDATE balances SET available = ?, held = ? WHERE account_id = ?"
_INSERT_GRANTS = "INSERT INTO grants (grant_id, account_id, credits, note, at_ms) VALUES (?, ?, ?, ?, ?)"


def read_holds(
    connection: sa.Connection, request_ids: Collection[str], account_ids: Iterable[str], *, skip_locked: bool
) -> tuple[dict[str, Hold], dict[str, Balance], set[str]]:
    """Reads the holds with these ids, and the balances of their accounts and of the given ones.

    The accounts that are locked are none: who has the database has all of it.
    """
    del skip_locked
    holds: dict[str, Hold] = {}
    if request_ids:
        rows = fetch_sqlite(connection, _READ_HOLDS, json.dumps(list(request_ids)))
        holds = {row[0]: Hold(*row) for row in rows}
    accounts = set(chain(account_ids, (hold.account_id for hold in holds.values())))
    balances = fetch_sqlite(connection, _READ_BALANCES, json.dumps(list(accounts)))
    return holds, {account: Balance(available, held) for account, available, held in balances}, set()


def read_grants(connection: sa.Connection, grant_ids: Collection[str]) -> dict[str, Grant]:
    """Reads the grants with these ids."""
    rows = fetch_sqlite(connection, _READ_GRANTS, json.dumps(list(grant_ids)))
    return {row[0]: Grant(*row) for row in rows}


def write(connection: sa.Connection, ledger: Ledger, now_ms: int) -> None:
    """Writes what the operations changed: at most one statement for each kind of change."""
    # First those that end: a new one may take over the idempotency key of one of them.
    _many(connection, _END_HOLDS, [(*hold_end(hold), hold.request_id) for hold in ledger.ended_holds.values()])
    _many(connection, _INSERT_HOLDS, [hold_row(hold) for hold in ledger.new_holds.values()])
    _many(connection, _INSERT_ENTRIES, [tuple(entry) for entry in ledger.entries])
    for statement, changed in (
        (_INSERT_BALANCES, ledger.new_balances),
        (_CHANGE_BALANCES, ledger.changed_balances),
    ):
        _many(connection, statement, [(new.available, new.held, account) for account, new in changed.items()])
    _many(connection, _INSERT_GRANTS, [(*grant, now_ms) for grant in ledger.new_grants.values()])


def _many(connection: sa.Connection, statement: str, rows: list[tuple[object, ...]]) -> None:
    if rows:
        execute_many_sqlite(connection, statement, rows)
