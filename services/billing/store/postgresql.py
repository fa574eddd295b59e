"""The hot path's SQL for PostgreSQL: two reads, two copies and one update for any batch, safe beside other replicas.

Whoever changes an account or one of its holds first locks the account's balance. All locks of a transaction are taken
by one statement in the order of the account ids, so that transactions never wait for one another in a circle. Holds
are read afterwards: at READ COMMITTED that statement sees everything that was committed before the locks were granted.
New rows cannot be locked; two replicas that insert the same id meet at its unique index, and the later one starts over.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, TypeVar

import sqlalchemy as sa

from services.billing.ledger.holds import NO_ACCOUNT, Hold
from services.billing.ledger.ledger import Balance, Entry, Ledger
from services.billing.ledger.operations import Grant
from services.billing.store.columns import GRANT_COLUMNS, HOLD_COLUMNS, hold_end, hold_row
from services.common.database.statements import copy_postgresql, fetch_postgresql
from services.common.database.transactions import RetryTransaction, retry_if_row_exists

T = TypeVar("T")

_LOCK_BALANCES = """
    SELECT account_id, available, held FROM balances
    WHERE account_id = ANY ($1::text[] || ARRAY(SELECT account_id FROM holds WHERE request_id = ANY ($2::text[])))
    ORDER BY account_id FOR UPDATE
"""
_LOCK_FREE_BALANCES = _LOCK_BALANCES + " SKIP LOCKED"
_READ_LOCKED = "SELECT account_id FROM balances WHERE account_id = ANY ($1::text[])"
_READ_HOLDS = f"SELECT {', '.join(HOLD_COLUMNS)} FROM holds WHERE request_id = ANY ($1::text[])"  # noqa: S608 - constants only
_READ_GRANTS = f"SELECT {', '.join(GRANT_COLUMNS)} FROM grants WHERE grant_id = ANY ($1::text[])"  # noqa: S608 - constants only

# Each array is a column. A batch has few of these rows, and often none of the first kind.
#
# An array of one element is compared, here and wherever rows are found for arrays, because an index can serve nothing
# of that but the search for each element. For two equal columns a plan that was made while a table had few rows would
# walk through the whole of its index, and be kept while the table grows.
_UPDATE = """
    WITH ended_holds AS (
        UPDATE holds SET state = e.state, outcome = e.outcome, prompt_tokens = e.prompt_tokens,
            completion_tokens = e.completion_tokens, runner_id = e.runner_id, settled_ms = e.settled_ms
        FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::bigint[])
            AS e (request_id, state, outcome, prompt_tokens, completion_tokens, runner_id, settled_ms)
        WHERE holds.request_id = ANY (ARRAY[e.request_id])
    )
    UPDATE balances SET available = c.available, held = c.held
    FROM unnest($8::text[], $9::bigint[], $10::bigint[]) AS c (account_id, available, held)
    WHERE balances.account_id = ANY (ARRAY[c.account_id])
"""


def read_holds(
    connection: sa.Connection, request_ids: Collection[str], account_ids: Iterable[str], *, skip_locked: bool
) -> tuple[dict[str, Hold], dict[str, Balance], set[str]]:
    """Locks and reads the balances of the accounts of these holds and of the given accounts; reads the holds.

    Returns as well which of these accounts others have locked, if it is to skip them; otherwise it waits for them.
    """
    ids, accounts = list(request_ids), list(account_ids)
    rows = fetch_postgresql(connection, _LOCK_FREE_BALANCES if skip_locked else _LOCK_BALANCES, accounts, ids)
    balances = {account: Balance(available, held) for account, available, held in rows}
    holds = {row[0]: Hold(*row) for row in fetch_postgresql(connection, _READ_HOLDS, ids)} if ids else {}
    missing = {hold.account_id for hold in holds.values()} - balances.keys() - {NO_ACCOUNT}
    if skip_locked:
        # An account without a balance is new, and nobody else's.
        missing |= set(accounts) - balances.keys()
        return holds, balances, {row[0] for row in fetch_postgresql(connection, _READ_LOCKED, list(missing))}
    if missing:
        # Another replica has made this hold between the two statements, and its account is not locked.
        raise RetryTransaction
    return holds, balances, set()


def read_grants(connection: sa.Connection, grant_ids: Collection[str]) -> dict[str, Grant]:
    """Reads the grants with these ids."""
    return {row[0]: Grant(*row) for row in fetch_postgresql(connection, _READ_GRANTS, list(grant_ids))}


def write(connection: sa.Connection, ledger: Ledger, now_ms: int) -> None:
    """Writes what the operations changed. Copying rows costs half the CPU of inserting arrays, on both sides."""
    with retry_if_row_exists():
        if ledger.entries or ledger.ended_holds:
            # First the holds that end: a new one may take over the idempotency key of one of them.
            fetch_postgresql(connection, _UPDATE, *_update_parameters(ledger))
        if ledger.new_balances:
            columns = "account_id", "available", "held"
            copy_postgresql(connection, "balances", columns, _balance_rows(ledger.new_balances))
        if ledger.new_grants:
            rows = [(*grant, now_ms) for grant in _sorted(ledger.new_grants)]
            copy_postgresql(connection, "grants", (*GRANT_COLUMNS, "at_ms"), rows)
        if ledger.new_holds:
            copy_postgresql(connection, "holds", HOLD_COLUMNS, [hold_row(hold) for hold in _sorted(ledger.new_holds)])
        if ledger.entries:
            copy_postgresql(connection, "entries", Entry._fields, ledger.entries)


def _update_parameters(ledger: Ledger) -> tuple[Any, ...]:
    ended = [(hold.request_id, *hold_end(hold)) for hold in ledger.ended_holds.values()]
    return *_columns(ended, 7), *_columns(_balance_rows(ledger.changed_balances), 3)


def _balance_rows(balances: dict[str, Balance]) -> list[tuple[Any, ...]]:
    return [(account, balances[account].available, balances[account].held) for account in sorted(balances)]


def _sorted(by_id: dict[str, T]) -> list[T]:
    # In one order everywhere, so that replicas that insert the same ids wait for one another in one direction only.
    return [by_id[name] for name in sorted(by_id)]


def _columns(rows: Iterable[tuple[Any, ...]], width: int) -> tuple[list[Any], ...]:
    return tuple(list(column) for column in zip(*rows, strict=True)) or ([],) * width
