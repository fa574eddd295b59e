"""The rows of key_months: touched only by transactions with a request whose key has a cap.

On PostgreSQL the transaction has locked the accounts of all of them.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from services.billing.ledger.spending import KeyMonth
from services.common.database.statements import execute_many_sqlite, fetch_postgresql, fetch_sqlite

_COLUMNS = "account_id, key_id, begins_ms, ends_ms"
_KEY = "account_id, key_id, begins_ms"
# On PostgreSQL; the array is explained at the update of holds (store/postgresql.py).
_SAME = (
    "key_months.account_id = ANY (ARRAY[{other}.account_id]) AND key_months.key_id = {other}.key_id "
    "AND key_months.begins_ms = {other}.begins_ms"
)
_READ_SQLITE = f"""
    SELECT {_COLUMNS}, spent FROM key_months WHERE ({_KEY}) IN (
        SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]') FROM json_each(?)
    )
"""  # noqa: S608 - constants only
_READ_POSTGRESQL = f"""
    SELECT {", ".join(f"key_months.{name}" for name in (*_COLUMNS.split(", "), "spent"))}
    FROM unnest($1::text[], $2::text[], $3::bigint[]) AS asked ({_KEY})
    JOIN key_months ON {_SAME.format(other="asked")}
"""  # noqa: S608 - constants only

# What was spent may begin a row; what is given back was in one.
_ADD = f"ON CONFLICT ({_KEY}) DO UPDATE SET spent = key_months.spent + excluded.spent"
_ADD_SQLITE = f"INSERT INTO key_months ({_COLUMNS}, spent) VALUES (?, ?, ?, ?, ?) {_ADD}"  # noqa: S608 - constants only
_ADD_POSTGRESQL = f"""
    INSERT INTO key_months ({_COLUMNS}, spent)
    SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[]) {_ADD}
"""  # noqa: S608 - constants only
_GIVE_BACK_SQLITE = """
    UPDATE key_months SET spent = spent + ? WHERE account_id = ? AND key_id = ? AND begins_ms = ?
"""
_GIVE_BACK_POSTGRESQL = f"""
    UPDATE key_months SET spent = key_months.spent + change.amount
    FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[]) AS change ({_KEY}, amount)
    WHERE {_SAME.format(other="change")}
"""  # noqa: S608 - constants only


def read_spent(connection: sa.Connection, months: Collection[KeyMonth]) -> dict[KeyMonth, int]:
    """Returns what was spent in these months; those without a row are missing."""
    if connection.dialect.name == "sqlite":
        rows = fetch_sqlite(connection, _READ_SQLITE, json.dumps([month[:3] for month in months]))
    else:
        rows = fetch_postgresql(connection, _READ_POSTGRESQL, *_columns(month[:3] for month in months))
    return {KeyMonth(*row[:4]): row[4] for row in rows}


def write_spent(connection: sa.Connection, changes: Mapping[KeyMonth, int]) -> None:
    """Adds to the sums what a transaction changed."""
    spent = [(*month, amount) for month, amount in changes.items() if amount > 0]
    given_back = [(month, amount) for month, amount in changes.items() if amount < 0]
    sqlite = connection.dialect.name == "sqlite"
    if spent and sqlite:
        execute_many_sqlite(connection, _ADD_SQLITE, spent)
    elif spent:
        fetch_postgresql(connection, _ADD_POSTGRESQL, *_columns(spent))
    if given_back and sqlite:
        execute_many_sqlite(connection, _GIVE_BACK_SQLITE, [(amount, *month[:3]) for month, amount in given_back])
    elif given_back:
        rows = ((*month[:3], amount) for month, amount in given_back)
        fetch_postgresql(connection, _GIVE_BACK_POSTGRESQL, *_columns(rows))


def _columns(rows: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]
