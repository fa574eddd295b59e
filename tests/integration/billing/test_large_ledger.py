"""A ledger with many accounts, days and segments of entries: everything is found, and charges write few pages."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa

from bench.large_ledger.fill import BEGAN_MS, DAY_MS, YEAR_MS, fill
from services.billing.ledger.usage import GroupBy
from services.billing.store.audit.audits import Audits
from services.billing.store.store import MIGRATIONS, LedgerStore
from services.common.database.base import Database
from tests.integration.billing.operations_for_tests import commit, execute, reserve, rows, settle

# Four segments of entries, and the fifth begun as that of a new ledger is.
REQUESTS = 16_385
NEVER = 2**62
# A page in the write-ahead log.
_FRAME_BYTES = 4096 + 24
# With two fifths of all requests, with few of them, and with none.
ACCOUNTS = ("acct_0", "acct_7", "acct_1", "nobody")


@pytest.fixture
async def large(database_url: str) -> AsyncIterator[Database]:
    """A ledger of a year, with a thousand accounts."""
    fill(database_url, REQUESTS)
    database = Database(database_url)
    await database.open(migrations=MIGRATIONS)
    yield database
    await database.close()


def entry_ids(account: str, connection: sa.Connection) -> list[int]:
    query = sa.text("SELECT entry_id FROM entries WHERE account_id = :account ORDER BY entry_id")
    return list(connection.execute(query, {"account": account}).scalars())


async def test_pages_of_entries_have_every_entry_once(large: Database) -> None:
    store = LedgerStore(large)
    for account in ACCOUNTS:
        expected = await large.read(partial(entry_ids, account))
        newest: list[int] = []
        while page := await store.older_entries(account, newest[-1] if newest else NEVER, 700):
            newest.extend(each.entry_id for each in page)
        assert newest == expected[::-1]
        oldest: list[int] = []
        while page := await store.entries(account, oldest[-1] if oldest else 0, NEVER, 700):
            oldest.extend(each.entry_id for each in page)
        assert oldest == expected
        horizon = expected[-1] - 1 if expected else NEVER
        assert [each.entry_id for each in await store.entries(account, 0, horizon, NEVER)] == expected[:-1]


async def test_reports_have_every_request_once(large: Database) -> None:
    store = LedgerStore(large)
    for account in ACCOUNTS:
        for from_ms, to_ms in (BEGAN_MS, BEGAN_MS + YEAR_MS), (BEGAN_MS + DAY_MS // 3, BEGAN_MS + 40 * DAY_MS + 5):
            ((requests,),) = await rows(
                large,
                f"SELECT count(*) FROM holds WHERE account_id = '{account}' "
                f"AND reserved_ms >= {from_ms} AND reserved_ms < {to_ms}",
            )
            report = await store.usage(account, from_ms, to_ms, GroupBy.KEY)
            assert sum(each.requests for each in report.sums) == requests


async def test_audits_read_everything_once(large: Database) -> None:
    audits = Audits(large, account_entries=3_000, rest=0)
    for report in await audits.audit_all(), await audits.audit_new():
        assert report.violations == []
        assert (report.entries, report.accounts) == (4 * REQUESTS + 2_000, 1_000)
    # Each in a range of accounts, or in an account with many entries of its own.
    for number, finding in (REQUESTS // 10 * 5, "usage of account acct_0"), (7, "usage of account acct_7"):
        await execute(
            large,
            "UPDATE daily_usage SET credits = credits + 1 WHERE (account_id, day, key_id, model) = ("
            f"SELECT account_id, reserved_ms / {DAY_MS}, key_id, model FROM holds "
            f"WHERE request_id LIKE 'req_%{number * 7919:020x}')",
        )
        assert any(finding in violation for violation in (await audits.audit_all()).violations)


@pytest.fixture
def new_url(sqlite_template: Path, tmp_path: Path) -> str:
    """Another ledger on SQLite."""
    return f"sqlite:///{shutil.copy(sqlite_template, tmp_path / 'new.db')}"


def log_bytes(database: Database) -> int:
    return Path(f"{database.url.database}-wal").stat().st_size


async def test_a_charge_writes_as_few_pages_as_on_the_first_day(sqlite_database_url: str, new_url: str) -> None:
    """Bytes of the write-ahead log, for charges of accounts that all have a long history in the large ledger."""
    accounts = [f"acct_{number}" for number in range(1_000) if number % 5 > 1][::8]
    written = []
    for url, requests in (sqlite_database_url, REQUESTS), (new_url, 1):
        fill(url, requests)
        database = Database(url)
        await database.open(migrations=MIGRATIONS)
        store = LedgerStore(database)
        # The first turn pays for what only the first charges of a day do.
        for turn in range(2):
            before = log_bytes(database)
            names = [(f"new {turn} {account}", account) for account in accounts]
            await commit(store, *(reserve(name, account) for name, account in names))
            await commit(store, *(settle(name) for name, _ in names))
        written.append(log_bytes(database) - before)
        await database.close()
    large, empty = written
    # Trees that are one page deeper have one more page at their end; an index by account would have one an account.
    assert large < empty + len(accounts) // 5 * _FRAME_BYTES, written
