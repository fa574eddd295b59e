"""The SQL that reads entries, the same for both databases but for where an export ends."""

from __future__ import annotations

import sqlalchemy as sa

from services.billing.ledger.entries import NumberedEntry
from services.billing.ledger.ledger import Balance, Entry

_COLUMNS = ", ".join(("entry_id", *Entry._fields))
_BALANCE = sa.text("SELECT available, held FROM balances WHERE account_id = :account_id")
_OLDER = sa.text(f"""
    SELECT {_COLUMNS} FROM entries WHERE account_id = :account_id AND entry_id < :before
    ORDER BY entry_id DESC LIMIT :limit
""")  # noqa: S608 - constants only
_ALL = sa.text(f"""
    SELECT {_COLUMNS} FROM entries WHERE entry_id > :after AND entry_id <= :horizon ORDER BY entry_id LIMIT :limit
""")  # noqa: S608 - constants only
_OF_ACCOUNT = sa.text(f"""
    SELECT {_COLUMNS} FROM entries WHERE account_id = :account_id AND entry_id > :after AND entry_id <= :horizon
    ORDER BY entry_id LIMIT :limit
""")  # noqa: S608 - constants only
_LAST = sa.text("SELECT coalesce(max(entry_id), 0) FROM entries")

# More than any entry has.
_NEVER = 2**63 - 1


def read_balance(connection: sa.Connection, account_id: str) -> Balance:
    """Returns one account's balance; zero if it has none."""
    row = connection.execute(_BALANCE, {"account_id": account_id}).first()
    return Balance(*row) if row is not None else Balance()


def read_newest(connection: sa.Connection, account_id: str, limit: int) -> tuple[Balance, list[NumberedEntry]]:
    """Returns an account's balance and its newest entries."""
    return read_balance(connection, account_id), read_older(connection, account_id, _NEVER, limit)


def read_older(connection: sa.Connection, account_id: str, before: int, limit: int) -> list[NumberedEntry]:
    """Returns an account's entries before one, newest first.

    Their order is the one in which they were committed, because all transactions on an account take turns.
    """
    return _read(connection, _OLDER, {"account_id": account_id, "before": before, "limit": limit})


def read_horizon(connection: sa.Connection) -> int:
    """Returns the last entry, when every entry before it is committed.

    PostgreSQL gives out numbers before it commits, so that a later entry may be seen earlier. This waits for all who
    are writing, and makes those who come wait until then; it must be a transaction of its own.
    """
    if connection.dialect.name == "postgresql":
        # Rather no export than requests that wait behind it for something that holds the table for long.
        connection.exec_driver_sql("SET LOCAL lock_timeout = '1s'")
        connection.exec_driver_sql("LOCK TABLE entries IN SHARE MODE")
    return int(connection.execute(_LAST).scalar_one())


def read_entries(
    connection: sa.Connection, account_id: str, after: int, horizon: int, limit: int
) -> list[NumberedEntry]:
    """Returns the entries of an account (empty for all) after one and up to another, oldest first."""
    statement = _OF_ACCOUNT if account_id else _ALL
    parameters = {"after": after, "horizon": horizon, "limit": limit}
    return _read(connection, statement, parameters | ({"account_id": account_id} if account_id else {}))


def _read(connection: sa.Connection, statement: sa.TextClause, parameters: dict[str, str | int]) -> list[NumberedEntry]:
    return [NumberedEntry(row[0], Entry(*row[1:])) for row in connection.execute(statement, parameters)]
