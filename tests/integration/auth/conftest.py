"""A real auth process on a fresh database, and clients of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from services.auth.store import MIGRATIONS
from services.common.database import Database
from services.common.migrations import migrate
from tests.integration.auth.auth_client import AuthClient
from tests.support.process import ServiceProcess


async def prepare(directory: Path) -> ServiceProcess:
    """Makes a database in the directory and returns a process that is ready to start on it."""
    url = f"sqlite:///{directory / 'auth.db'}"
    database = Database(url)
    await migrate(database, MIGRATIONS)
    await database.close()
    return ServiceProcess("auth", directory, {"database_url": url, "last_used_seconds": "0.05"})


@pytest.fixture
async def auth(tmp_path: Path) -> AsyncIterator[ServiceProcess]:
    """A process of the test's own, with its files in `tmp_path`."""
    async with await prepare(tmp_path) as process:
        yield process


@pytest.fixture
async def client(auth: ServiceProcess) -> AsyncIterator[AuthClient]:
    """A client of the test's own process."""
    async with AuthClient(auth.address) as client:
        yield client


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_auth(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServiceProcess]:
    """A process that tests share, because starting one takes a second; each test opens accounts of its own."""
    async with await prepare(tmp_path_factory.mktemp("auth")) as process:
        yield process


@pytest.fixture
async def shared_client(shared_auth: ServiceProcess) -> AsyncIterator[AuthClient]:
    """A client of the shared process."""
    async with AuthClient(shared_auth.address) as client:
        yield client


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'store.db'}"
