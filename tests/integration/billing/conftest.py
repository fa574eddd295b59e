"""The ledger on a fresh database of each kind, and a real billing process on it."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.billing.store.store import MIGRATIONS, LedgerStore
from services.common.database.base import Database
from tests.integration.billing.billing_client import BillingClient
from tests.integration.billing.replica import Replica
from tests.support.forked_service import ForkedServiceProcess
from tests.support.migrated import migrated_database, migrated_file
from tests.support.postgres import create_database
from tests.support.process import ServiceProcess


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database file that tests copy."""
    return migrated_file(tmp_path_factory.mktemp("ledger") / "template.db", MIGRATIONS)


@pytest.fixture(scope="session")
def postgres_template(postgres_url: str) -> str:
    """The name of a migrated database that tests copy."""
    return migrated_database(postgres_url, MIGRATIONS)


@pytest.fixture
def sqlite_database_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A new ledger on SQLite."""
    path = tmp_path / "billing.db"
    shutil.copy(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
def postgres_database_url(postgres_url: str, postgres_template: str) -> str:
    """A new ledger on PostgreSQL."""
    return create_database(postgres_url, postgres_template)


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A new ledger on each kind of database."""
    url: str = request.getfixturevalue(f"{request.param}_database_url")
    return url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The open database."""
    database = Database(database_url)
    await database.open(migrations=MIGRATIONS)
    yield database
    await database.close()


@pytest.fixture
def store(database: Database) -> LedgerStore:
    """The ledger in it."""
    return LedgerStore(database)


@pytest.fixture
async def billing(database_url: str, tmp_path: Path) -> AsyncIterator[ServiceProcess]:
    """A process of the test's own."""
    async with ForkedServiceProcess("billing", tmp_path, {"database_url": database_url}) as process:
        yield process


@pytest.fixture
async def client(billing: ServiceProcess) -> AsyncIterator[BillingClient]:
    """A client of that process."""
    async with BillingClient(billing.address) as client:
        yield client


@pytest.fixture
async def sqlite_client(sqlite_database_url: str, tmp_path: Path) -> AsyncIterator[BillingClient]:
    """A client of a process on SQLite, for what no database has a part in."""
    async with (
        ForkedServiceProcess("billing", tmp_path, {"database_url": sqlite_database_url}) as process,
        BillingClient(process.address) as client,
    ):
        yield client


@pytest.fixture(params=["sqlite-1", "postgres-1", "postgres-2", "postgres-3"])
async def replicas(request: pytest.FixtureRequest) -> AsyncIterator[list[Replica]]:
    """One or more replicas on one ledger, with batches so small that their transactions really meet."""
    kind, _, count = request.param.partition("-")
    url = request.getfixturevalue(f"{kind}_database_url")
    replicas = [Replica(url, max_batch=5) for _ in range(int(count))]
    yield replicas
    for replica in replicas:
        await replica.close()
