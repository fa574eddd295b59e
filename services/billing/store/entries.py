"""The SQL that reads entries. The entries of an account are indexed in another way on each database."""

from __future__ import annotations

import sqlalchemy as sa

from services.billing.ledger.entries import NumberedEntry
from services.billing.ledger.ledger import Balance, Entry

_COLUMNS = ", ".join(("entry_id", *Entry._fields))
_BALANCE = sa.text("SELECT available, held FROM balances WHERE account_id = :account_id")
_ALL = sa.text(f"""
    SELECT {_COLUMNS} FROM entries WHERE entry_id > :after AND entry_id <= :horizon ORDER BY entry_id LIMIT :limit
""")  # noqa: S608 - constants only
_BEFORE = "account_id = :account_id AND entry_id < :before"
_AFTER = "account_id = :account_id AND entry_id > :after AND entry_id <= :horizon"
# On SQLite, entries are indexed segment by segment (migration 0011). A walk goes from one to the next until it has
# found enough.
_WALK = """
    WITH RECURSIVE walk (segment, found) AS (
        SELECT {first}, 0 UNION ALL
        SELECT {following}, found + (SELECT count(*) FROM entries WHERE entry_id >> 14 = segment AND {wanted})
        FROM walk WHERE found < :enough AND {more}
    )
    SELECT entry_id FROM walk CROSS JOIN entries WHERE entry_id >> 14 = segment AND {wanted}
"""
_WALK_BACK = _WALK.format(
    wanted=_BEFORE,
    first="min(:before - 1, (SELECT max(entry_id) FROM entries)) >> 14",
    following="segment - 1",
    more="segment > 0",
)
_WALK_ON = _WALK.format(
    wanted=_AFTER,
    first="(:after + 1) >> 14",
    following="segment + 1",
    more="segment < min(:horizon, (SELECT max(entry_id) FROM entries)) >> 14",
)
_OLDER = {
    "sqlite": f"""
        SELECT {_COLUMNS} FROM entries WHERE entry_id IN ({_WALK_BACK} ORDER BY entry_id DESC LIMIT :enough)
        ORDER BY entry_id DESC
    """,  # noqa: S608 - constants only
    "postgresql": f"SELECT {_COLUMNS} FROM entries WHERE {_BEFORE} ORDER BY entry_id DESC LIMIT :enough",  # noqa: S608 - constants only
}
_NEWER = {
    "sqlite": f"""
        SELECT {_COLUMNS} FROM entries WHERE entry_id IN ({_WALK_ON} ORDER BY entry_id LIMIT :enough) ORDER BY entry_id
    """,  # noqa: S608 - constants only
    "postgresql": f"SELECT {_COLUMNS} FROM entries WHERE {_AFTER} ORDER BY entry_id LIMIT :enough",  # noqa: S608 - constants only
}
_NTH = {
    "sqlite": f"{_WALK_ON} ORDER BY entry_id LIMIT 1 OFFSET :enough - 1",
    "postgresql": f"SELECT entry_id FROM entries WHERE {_AFTER} ORDER BY entry_id LIMIT 1 OFFSET :enough - 1",  # noqa: S608 - constants only
}
_HALF_THE_PATIENCE = sa.text("""
    SELECT set_config('lock_timeout', CAST(CAST(setting AS bigint) / 2 AS text), true) FROM pg_settings
    WHERE name = 'lock_timeout'
""")
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
    parameters: dict[str, str | int] = {"account_id": account_id, "before": before, "enough": limit}
    return _read(connection, sa.text(_OLDER[connection.dialect.name]), parameters)


def read_horizon(connection: sa.Connection) -> int:
    """Returns the last entry, when every entry before it is committed.

    PostgreSQL gives out numbers before it commits, so that a later entry may be seen earlier. This waits for all who
    are writing, and makes those who come wait until then; it must be a transaction of its own.
    """
    if connection.dialect.name == "postgresql":
        # Rather no export than requests that wait behind it for something that holds the table for long. They fail if
        # they have waited for the whole of this time.
        connection.execute(_HALF_THE_PATIENCE)
        connection.exec_driver_sql("LOCK TABLE entries IN SHARE MODE")
    return int(connection.execute(_LAST).scalar_one())


def read_entries(
    connection: sa.Connection, account_id: str, after: int, horizon: int, limit: int
) -> list[NumberedEntry]:
    """Returns the entries of an account (empty for all) after one and up to another, oldest first."""
    if not account_id:
        return _read(connection, _ALL, {"after": after, "horizon": horizon, "limit": limit})
    parameters: dict[str, str | int] = {"account_id": account_id, "after": after, "horizon": horizon, "enough": limit}
    return _read(connection, sa.text(_NEWER[connection.dialect.name]), parameters)


def read_nth_entry(connection: sa.Connection, account_id: str, after: int, count: int) -> int | None:
    """Returns the id of the entry that is the account's `count`th after one; None if it has fewer."""
    parameters = {"account_id": account_id, "after": after, "horizon": _NEVER, "enough": count}
    found = connection.execute(sa.text(_NTH[connection.dialect.name]), parameters).scalar()
    return None if found is None else int(found)


def _read(connection: sa.Connection, statement: sa.TextClause, parameters: dict[str, str | int]) -> list[NumberedEntry]:
    return [NumberedEntry(row[0], Entry(*row[1:])) for row in connection.execute(statement, parameters)]
