"""Usage reports come from daily sums, and say what adding up the requests says, whatever has happened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from services.billing.ledger.holds import NO_ACCOUNT
from services.billing.ledger.usage import DAY_MS, GroupBy, Sum
from services.billing.store import usage as store_usage
from services.billing.store.store import MIGRATIONS, LedgerStore
from services.billing.usage_backfill import UsageBackfill
from services.common.database.base import Database
from services.common.database.migrations import migrate
from tests.integration.billing.operations_for_tests import assert_sound, execute, rows
from tests.integration.billing.random_history import ACCOUNTS, DAYS, FIRST, RandomHistory
from tests.integration.billing.replica import Replica
from tests.support.schema import KINDS, make_schema, new_url
from tests.support.waiting import eventually

_GROUPS = {GroupBy.DAY: f"reserved_ms / {DAY_MS}", GroupBy.MODEL: "model", GroupBy.KEY: "key_id"}


async def added_up(database: Database, account: str, from_ms: int, to_ms: int, group_by: GroupBy) -> list[Sum]:
    """Adds up an account's requests one by one, as reports did before there were sums."""
    query = sa.text(f"""
        SELECT {_GROUPS[group_by]} AS name, count(*), count(CASE WHEN state = 'captured' THEN 1 END),
            sum(CASE WHEN state = 'captured' THEN amount ELSE 0 END), sum(prompt_tokens), sum(completion_tokens)
        FROM holds WHERE account_id = :account AND reserved_ms >= :from_ms AND reserved_ms < :to_ms
        GROUP BY 1 ORDER BY 1
    """)
    parameters = {"account": account, "from_ms": from_ms, "to_ms": to_ms}
    found = await database.read(lambda connection: connection.execute(query, parameters).all())
    return [Sum(store_usage._name(row[0], group_by), *(int(value) for value in row[1:])) for row in found]


async def assert_equal_sums(store: LedgerStore, database: Database, history: RandomHistory, reports: int) -> None:
    """Compares random reports; the first ones are of everything."""
    whole = (FIRST - DAY_MS, FIRST + (DAYS + 1) * DAY_MS)
    ranges = [whole, *(sorted((history.moment(), history.moment())) for _ in range(reports))]
    for from_ms, to_ms in ranges:
        for account in ACCOUNTS:
            for group_by in GroupBy:
                expected = await added_up(database, account, from_ms, to_ms, group_by)
                assert (await store.usage(account, from_ms, to_ms, group_by)).sums == expected, (account, group_by)


@pytest.fixture(params=KINDS)
async def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """A database without a schema."""
    database = Database(new_url(request, tmp_path))
    yield database
    await database.close()


@pytest.fixture
async def old_database(empty_database: Database) -> Database:
    """A database with the schema from before there were sums."""
    await empty_database.transaction(lambda connection: make_schema(connection, MIGRATIONS, "0005"))
    return empty_database


@pytest.mark.parametrize("seed", range(3))
async def test_sums_say_what_the_requests_say(store: LedgerStore, database: Database, seed: int) -> None:
    history = RandomHistory(store, seed)
    await history.begin()
    for _ in range(3):
        await history.go_on(15)
        await assert_equal_sums(store, database, history, reports=4)
    await history.end()
    await assert_equal_sums(store, database, history, reports=1)
    await assert_sound(store)


@pytest.mark.parametrize("seed", range(2))
async def test_an_old_ledger_is_added_beside_its_work(old_database: Database, seed: int) -> None:
    store = LedgerStore(old_database)
    history = RandomHistory(store, seed)
    await history.begin()
    await history.go_on(25)
    await migrate(old_database, MIGRATIONS)
    while True:
        await history.go_on(2)
        await assert_equal_sums(store, old_database, history, reports=0)
        await assert_sound(store)
        if not await store.backfill_usage(9):
            break
    assert await store.usage_is_complete()
    await history.go_on(5)
    await assert_equal_sums(store, old_database, history, reports=3)
    await assert_sound(store)


async def test_a_ledger_that_is_half_added_may_be_migrated(empty_database: Database) -> None:
    await empty_database.transaction(lambda connection: make_schema(connection, MIGRATIONS, "0008"))
    store = LedgerStore(empty_database)
    history = RandomHistory(store, 4)
    await history.begin()
    await history.go_on(25)
    for statement in "DELETE FROM daily_usage", "INSERT INTO daily_usage_backfill VALUES ('', 0)":
        await execute(empty_database, statement)
    for _ in range(2):
        assert await store.backfill_usage(9)
        await history.go_on(2)
    await migrate(empty_database, MIGRATIONS)
    await assert_equal_sums(store, empty_database, history, reports=2)
    # On SQLite the migration has added the rest.
    assert await store.usage_is_complete() == (empty_database.dialect == "sqlite")
    while await store.backfill_usage(9):
        await history.go_on(1)
    await history.go_on(5)
    await assert_equal_sums(store, empty_database, history, reports=2)
    await assert_sound(store)


async def test_a_new_ledger_has_nothing_to_add(store: LedgerStore) -> None:
    assert await store.usage_is_complete()


async def test_replicas_may_work_while_others_add(old_database: Database) -> None:
    url = old_database.url.render_as_string(hide_password=False)
    store = LedgerStore(old_database)
    await RandomHistory(store, 1).begin()
    await RandomHistory(store, 1).go_on(60)
    await migrate(old_database, MIGRATIONS)
    replicas = [Replica(url, max_batch=5) for _ in range(1 if old_database.dialect == "sqlite" else 2)]
    histories = [RandomHistory(replica.store, seed) for seed, replica in enumerate(replicas, 1)]
    adding = (UsageBackfill(replica.store).complete(4) for replica in replicas)
    await asyncio.gather(*(history.go_on(30) for history in histories), *adding)
    for replica in replicas:
        await replica.close()
    assert await store.usage_is_complete()
    await assert_equal_sums(store, old_database, histories[0], reports=2)
    await assert_sound(store)


async def test_a_background_task_adds_an_old_ledger(old_database: Database) -> None:
    store = LedgerStore(old_database)
    history = RandomHistory(store, 5)
    await history.begin()
    await history.go_on(10)
    await migrate(old_database, MIGRATIONS)
    task = asyncio.create_task(UsageBackfill(store).run())
    await eventually(store.usage_is_complete)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await assert_equal_sums(store, old_database, history, reports=1)


async def test_what_has_no_account_is_in_no_sum(store: LedgerStore, database: Database) -> None:
    history = RandomHistory(store, 2)
    await history.begin()
    await history.go_on(30)
    # Settlements of requests that were never reserved.
    assert (await rows(database, f"SELECT count(*) FROM holds WHERE account_id = '{NO_ACCOUNT}'"))[0][0]
    assert await rows(database, f"SELECT * FROM daily_usage WHERE account_id = '{NO_ACCOUNT}'") == []


async def test_a_year_is_read_from_few_rows(store: LedgerStore, database: Database) -> None:
    for number in range(3):
        await execute(
            database,
            f"INSERT INTO daily_usage VALUES ('acct', {FIRST // DAY_MS + number}, 'key', 'pro', 5, 4, 40, 3, 2)",
        )
    report = await store.usage("acct", FIRST, FIRST + 365 * DAY_MS + 7, GroupBy.MODEL)
    assert report == ([Sum("pro", 15, 12, 120, 9, 6)], 0)
