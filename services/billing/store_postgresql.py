"""The hot path's SQL for PostgreSQL: two reads and one write whatever the batch size, safe beside other replicas.

Whoever changes an account or one of its holds first locks the account's balance. All locks of a transaction are taken
by one statement in the order of the account ids, so that transactions never wait for one another in a circle. Holds
are read afterwards: at READ COMMITTED that statement sees everything that was committed before the locks were granted.
New rows cannot be locked; two replicas that insert the same id meet at its unique index, and the later one starts over.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import asyncpg
import sqlalchemy as sa

from services.billing.holds import Hold
from services.billing.ledger import Balance, Ledger
from services.billing.operations import Grant
from services.billing.store_columns import GRANT_COLUMNS, HOLD_COLUMNS, hold_end, hold_row
from services.common.statements import fetch_postgresql
from services.common.transactions import RetryTransaction

_LOCK_BALANCES = """
    SELECT account_id, available, held FROM balances
    WHERE account_id = ANY ($1::text[] || ARRAY(SELECT account_id FROM holds WHERE request_id = ANY ($2::text[])))
    ORDER BY account_id FOR UPDATE
"""
_READ_HOLDS = f"SELECT {', '.join(HOLD_COLUMNS)} FROM holds WHERE request_id = ANY ($1::text[])"  # noqa: S608 - constants only
_READ_GRANTS = f"SELECT {', '.join(GRANT_COLUMNS)} FROM grants WHERE grant_id = ANY ($1::text[])"  # noqa: S608

_HOLD_TYPES = ("text",) * 4 + ("bigint",) * 4 + ("text",) * 2 + ("bigint",) * 2 + ("text", "bigint")
_ENTRY_TYPES = ("text",) * 4 + ("bigint",) * 2


def _arrays(first: int, types: Iterable[str]) -> str:
    return ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(types, first))


# One statement, so that one round trip writes everything. Each array is a column.
_WRITE = f"""
    WITH new_holds AS (
        INSERT INTO holds ({", ".join(HOLD_COLUMNS)}) SELECT * FROM unnest({_arrays(1, _HOLD_TYPES)})
    ), ended_holds AS (
        UPDATE holds SET state = e.state, outcome = e.outcome, prompt_tokens = e.prompt_tokens,
            completion_tokens = e.completion_tokens, runner_id = e.runner_id, settled_ms = e.settled_ms
        FROM unnest({_arrays(15, ("text", *_HOLD_TYPES[8:]))})
            AS e (request_id, state, outcome, prompt_tokens, completion_tokens, runner_id, settled_ms)
        WHERE holds.request_id = e.request_id
    ), new_entries AS (
        INSERT INTO entries (reference, kind, account_id, pocket, amount, at_ms)
        SELECT * FROM unnest({_arrays(22, _ENTRY_TYPES)})
    )
    UPDATE balances SET available = c.available, held = c.held
    FROM unnest({_arrays(28, ("text", "bigint", "bigint"))}) AS c (account_id, available, held)
    WHERE balances.account_id = c.account_id
"""  # noqa: S608 - constants only
_INSERT_BALANCES = """
    INSERT INTO balances (account_id, available, held) SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[])
"""
_INSERT_GRANTS = """
    INSERT INTO grants (grant_id, account_id, credits, note, at_ms)
    SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::bigint[])
"""


def read_holds(
    connection: sa.Connection, request_ids: Collection[str], account_ids: Iterable[str]
) -> tuple[dict[str, Hold], dict[str, Balance]]:
    """Locks and reads the balances of the accounts of these holds and of the given accounts; reads the holds."""
    ids = list(request_ids)
    locked = fetch_postgresql(connection, _LOCK_BALANCES, list(account_ids), ids)
    balances = {account: Balance(available, held) for account, available, held in locked}
    if not ids:
        return {}, balances
    holds = {row[0]: Hold(*row) for row in fetch_postgresql(connection, _READ_HOLDS, ids)}
    if any(hold.account_id not in balances for hold in holds.values()):
        # Another replica has made this hold between the two statements, and its account is not locked.
        raise RetryTransaction
    return holds, balances


def read_grants(connection: sa.Connection, grant_ids: Collection[str]) -> dict[str, Grant]:
    """Reads the grants with these ids."""
    return {row[0]: Grant(*row) for row in fetch_postgresql(connection, _READ_GRANTS, list(grant_ids))}


def write(connection: sa.Connection, ledger: Ledger, now_ms: int) -> None:
    """Writes what the operations changed."""
    try:
        if ledger.new_balances:
            fetch_postgresql(connection, _INSERT_BALANCES, *_columns(_balance_rows(ledger.new_balances), 3))
        if ledger.new_grants:
            rows = [(*ledger.new_grants[name], now_ms) for name in sorted(ledger.new_grants)]
            fetch_postgresql(connection, _INSERT_GRANTS, *_columns(rows, 5))
        if ledger.entries:
            fetch_postgresql(connection, _WRITE, *_write_parameters(ledger))
    except asyncpg.UniqueViolationError as error:
        raise RetryTransaction from error


def _write_parameters(ledger: Ledger) -> tuple[Any, ...]:
    new = [hold_row(ledger.new_holds[name]) for name in sorted(ledger.new_holds)]
    ended = [(hold.request_id, *hold_end(hold)) for hold in ledger.ended_holds.values()]
    return (
        *_columns(new, len(HOLD_COLUMNS)),
        *_columns(ended, 7),
        *_columns(ledger.entries, 6),
        *_columns(_balance_rows(ledger.changed_balances), 3),
    )


def _balance_rows(balances: dict[str, Balance]) -> list[tuple[Any, ...]]:
    return [(account, balances[account].available, balances[account].held) for account in sorted(balances)]


def _columns(rows: Iterable[tuple[Any, ...]], width: int) -> tuple[list[Any], ...]:
    return tuple(list(column) for column in zip(*rows, strict=True)) or ([],) * width
