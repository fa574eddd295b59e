"""Reads which holds have which idempotency keys: one statement, in transactions that need it only."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping

import sqlalchemy as sa

from services.billing.ledger.holds import Hold
from services.billing.ledger.idempotency import IdempotencyKey
from services.billing.store.columns import HOLD_COLUMNS
from services.common.database.statements import fetch_postgresql, fetch_sqlite

_COLUMNS = ", ".join(f"holds.{column}" for column in HOLD_COLUMNS)
# Both conditions are spelled like the unique index's, or it would not serve.
_WHERE = """
    holds.account_id = asked.account_id AND holds.idempotency_key = asked.idempotency_key
    AND holds.idempotency_key IS NOT NULL AND holds.state <> 'released'
"""
# CROSS JOIN keeps SQLite from beginning with the holds.
_SQLITE = f"""
    SELECT {_COLUMNS} FROM (
        SELECT json_extract(value, '$[0]') AS account_id, json_extract(value, '$[1]') AS idempotency_key
        FROM json_each(?)
    ) AS asked CROSS JOIN holds WHERE {_WHERE}
"""  # noqa: S608 - constants only
# The limit keeps PostgreSQL from beginning with them: a plan that was made while few holds had a key would walk through
# all that have one, and be kept.
_POSTGRESQL = f"""
    SELECT found.* FROM unnest($1::text[], $2::text[]) AS asked (account_id, idempotency_key)
    CROSS JOIN LATERAL (SELECT {_COLUMNS} FROM holds WHERE {_WHERE} LIMIT 1) AS found
"""  # noqa: S608 - constants only


def read_holders(
    connection: sa.Connection, keys: Collection[IdempotencyKey], holds: Mapping[str, Hold]
) -> dict[IdempotencyKey, Hold]:
    """Returns the open or charged hold of each key that has one; those in `holds` as the same objects.

    The transaction has locked the accounts, so that no key changes hands meanwhile.
    """
    if connection.dialect.name == "sqlite":
        rows = fetch_sqlite(connection, _SQLITE, json.dumps(list(keys)))
    else:
        accounts, names = (list(column) for column in zip(*keys, strict=True))
        rows = fetch_postgresql(connection, _POSTGRESQL, accounts, names)
    found = [Hold(*row) for row in rows]
    return {
        IdempotencyKey(hold.account_id, str(hold.idempotency_key)): holds.get(hold.request_id, hold) for hold in found
    }
