"""Fills a ledger with paid requests by SQL, in balance, spread over a year."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa

from tests.support.apart import run_apart

ACCOUNTS = [f"acct_{number}" for number in range(1000)]
# Each request is held and charged: two movements of two entries each.
ENTRIES_OF_REQUEST = 4
PRICE = 10
CREDITS = 10**12
BEGAN_MS = 1_764_000_000_000
DAY_MS = 86_400_000
YEAR_MS = 365 * DAY_MS

# Of the numbers from 1 on, as many as there are requests. Ids are made as the edge makes them.
_IDS = {
    "sqlite": "printf('req_%012x%020x', {at}, n * 7919)",
    "postgresql": "'req_' || lpad(to_hex({at}), 12, '0') || lpad(to_hex(n * 7919), 20, '0')",
}


@dataclass(frozen=True)
class Owners:
    """Whose the requests of a ledger are. The expressions are SQL over the number n of a request or of an account."""

    account: str
    key: str
    # The name of an account, and how many there are.
    name: str
    count: int
    # The year in which the requests are made begins here, in milliseconds since the Unix epoch.
    began_ms: int = BEGAN_MS


# Two fifths of the requests are of one account.
THOUSAND_OWNERS = Owners(
    account=f"CASE WHEN n % 5 < 2 THEN 'acct_0' ELSE 'acct_' || (n % {len(ACCOUNTS)}) END",
    key="'key_' || (n % 7)",
    name="'acct_' || (n - 1)",
    count=len(ACCOUNTS),
)
_MOVEMENT = "INSERT INTO entries (reference, kind, account_id, pocket, amount, at_ms) SELECT {} FROM numbers"
_OF_REQUESTS = (
    f"""
    INSERT INTO holds (request_id, account_id, key_id, model, quantity, unit_price, amount, reserved_ms, state, outcome,
        prompt_tokens, completion_tokens, runner_id, settled_ms)
    SELECT {{id}}, {{account}}, {{key}}, CASE WHEN n % 3 = 0 THEN 'tiermesh-max' ELSE 'tiermesh-pro' END, 1,
        {PRICE}, {PRICE}, {{at}}, 'captured', 'completed', 100, 64, 'runner', {{at}} + 900 FROM numbers ORDER BY n
    """,
    # In the order in which a ledger grows.
    _MOVEMENT.format(
        "{id}, CASE WHEN line < 2 THEN 'reserve' ELSE 'capture' END, "
        "CASE WHEN line = 3 THEN 'system:revenue' ELSE {account} END, "
        "CASE WHEN line = 0 OR line = 3 THEN 'available' ELSE 'held' END, "
        f"CASE WHEN line = 0 OR line = 2 THEN -{PRICE} ELSE {PRICE} END, "
        "{at} + CASE WHEN line < 2 THEN 0 ELSE 900 END"
    )
    + " CROSS JOIN (SELECT 0 AS line UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3) AS lines",
    f"""
    INSERT INTO balances (account_id, available, held)
    SELECT account_id, {CREDITS} - {PRICE} * count(*), 0 FROM holds GROUP BY account_id
    """,
    """
    INSERT INTO daily_usage (account_id, day, key_id, model, requests, charged_requests, credits, prompt_tokens,
        completion_tokens)
    SELECT account_id, reserved_ms / 86400000, key_id, model, count(*), count(*), sum(amount),
        sum(prompt_tokens), sum(completion_tokens) FROM holds GROUP BY 2, 1, 3, 4 ORDER BY 2, 1, 3, 4
    """,
)
# And as many as there are accounts.
_OF_ACCOUNTS = (
    f"""
    INSERT INTO balances (account_id, available, held) SELECT {{name}}, {CREDITS}, 0 FROM numbers
    WHERE {{name}} NOT IN (SELECT account_id FROM balances)
    """,
    f"""
    INSERT INTO grants (grant_id, account_id, credits, note, at_ms)
    SELECT 'grant_' || n, {{name}}, {CREDITS}, '', {{began}} FROM numbers
    """,
    _MOVEMENT.format(f"'grant_' || n, 'grant', {{name}}, 'available', {CREDITS}, {{began}}"),
    _MOVEMENT.format(f"'grant_' || n, 'grant', 'system:grants', 'available', -{CREDITS}, {{began}}"),
)
# What is filled without its indexes and triggers, which is several times as fast.
_TABLES = ("entries", "holds")


class _Step(NamedTuple):
    """Statements over the numbers from 1 to one."""

    numbers: int
    statements: Sequence[str]


def fill(url: str, requests: int, owners: Owners = THOUSAND_OWNERS) -> None:
    """Writes the rows of so many paid requests into a new ledger. One that was begun and not finished is worthless."""
    kind = sa.make_url(url).get_backend_name()
    at = f"({owners.began_ms} + n * {YEAR_MS // requests})"
    words = {"at": at, "id": _IDS[kind].format(at=at), "account": owners.account, "key": owners.key}
    words |= {"name": owners.name, "began": str(owners.began_ms)}
    steps = [
        _Step(requests, [each.format_map(words) for each in _OF_REQUESTS]),
        _Step(owners.count, [each.format_map(words) for each in _OF_ACCOUNTS]),
    ]
    if kind == "sqlite":
        _fill_sqlite(url, steps)
    else:
        run_apart(_fill_postgresql(url, steps))


def _fill_sqlite(url: str, steps: Sequence[_Step]) -> None:
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        # Nobody reads it meanwhile, and what a crash leaves behind is thrown away.
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -400000", "temp_store = MEMORY"):
            connection.exec_driver_sql(f"PRAGMA {pragma}")
        connection.exec_driver_sql("BEGIN")
        names = ", ".join(f"'{table}'" for table in _TABLES)
        left_out = connection.exec_driver_sql(
            "SELECT type, name, sql FROM sqlite_master WHERE type IN ('index', 'trigger') AND sql IS NOT NULL "
            f"AND tbl_name IN ({names})"
        ).all()
        for kind, name, _ in left_out:
            connection.exec_driver_sql(f"DROP {kind} {name}")
        for statement in _numbered(
            steps,
            "CREATE TEMP TABLE numbers (n INTEGER)",
            "INSERT INTO numbers WITH RECURSIVE to_come (n) AS "
            "(SELECT 1 UNION ALL SELECT n + 1 FROM to_come WHERE n < {count}) SELECT n FROM to_come",
        ):
            connection.exec_driver_sql(statement)
        for _, _, sql in left_out:
            connection.exec_driver_sql(sql)
        connection.exec_driver_sql("COMMIT")
    engine.dispose()


async def _fill_postgresql(url: str, steps: Sequence[_Step]) -> None:
    import asyncpg

    connection: Any = await asyncpg.connect(url)
    async with connection.transaction():
        await connection.execute("SET LOCAL maintenance_work_mem = '256MB'")
        await connection.execute("SET LOCAL work_mem = '256MB'")
        indexes = await connection.fetch(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = ANY ($1::text[]) "
            "AND indexname NOT IN (SELECT conname FROM pg_constraint)",
            list(_TABLES),
        )
        for name, _ in indexes:
            await connection.execute(f"DROP INDEX {name}")
        for table in _TABLES:
            await connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        create = "CREATE TEMP TABLE numbers (n BIGINT)"
        for statement in _numbered(steps, create, "INSERT INTO numbers SELECT generate_series(1, {count})"):
            await connection.execute(statement)
        for table in _TABLES:
            await connection.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")
        for _, definition in indexes:
            await connection.execute(definition)
    await connection.execute("VACUUM ANALYZE")
    await connection.close()


def _numbered(steps: Sequence[_Step], create: str, insert: str) -> Iterator[str]:
    yield create
    for step in steps:
        yield "DELETE FROM numbers"
        yield insert.format(count=step.numbers)
        yield from step.statements
