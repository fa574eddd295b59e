"""A real auth process on a fresh database of each kind, and clients of it."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from services.auth.store.store import MIGRATIONS
from tests.integration.auth.auth_client import AuthClient
from tests.integration.auth.sign_in_client import SignIn
from tests.support.forked_service import ForkedServiceProcess
from tests.support.migrated import migrated_database, migrated_file
from tests.support.postgres import create_database
from tests.support.process import ServiceProcess

_KINDS = ("sqlite", "postgres")


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database file that tests copy."""
    return migrated_file(tmp_path_factory.mktemp("auth") / "template.db", MIGRATIONS)


@pytest.fixture(scope="session")
def postgres_template(postgres_url: str) -> str:
    """The name of a migrated database that tests copy."""
    return migrated_database(postgres_url, MIGRATIONS)


def new_database(kind: str, directory: Path, request: pytest.FixtureRequest) -> str:
    """Makes a database of one kind with the newest schema and returns its URL."""
    template = request.getfixturevalue(f"{kind}_template")
    if kind == "postgres":
        return create_database(request.getfixturevalue("postgres_url"), template)
    path = directory / "auth.db"
    shutil.copy(template, path)
    return f"sqlite:///{path}"


def auth_process(directory: Path, database_url: str, **settings: str) -> ServiceProcess:
    """Returns a process that is ready to start on a database."""
    settings = {"database_url": database_url, "last_used_seconds": "0.05", **settings}
    return ForkedServiceProcess("auth", directory, settings)


@pytest.fixture(params=_KINDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of the test's own; on SQLite its file lies in `tmp_path`."""
    return new_database(request.param, tmp_path, request)


@pytest.fixture
async def auth(tmp_path: Path, database_url: str) -> AsyncIterator[ServiceProcess]:
    """A process of the test's own, with its files in `tmp_path`."""
    async with auth_process(tmp_path, database_url) as process:
        yield process


@pytest.fixture
async def client(auth: ServiceProcess) -> AsyncIterator[AuthClient]:
    """A client of the test's own process."""
    async with AuthClient(auth.address) as client:
        yield client


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=_KINDS)
async def shared_auth(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ServiceProcess]:
    """A process that tests share, because starting one takes a second; each test opens accounts of its own.

    One of the two has room for one key, so that it reads almost every key from its database: all holds there too.
    """
    directory = tmp_path_factory.mktemp("auth")
    room = {"max_keys_in_memory": "1"} if request.param == "postgres" else {}
    async with auth_process(directory, new_database(request.param, directory, request), **room) as process:
        yield process


@pytest.fixture
async def shared_client(shared_auth: ServiceProcess) -> AsyncIterator[AuthClient]:
    """A client of the shared process."""
    async with AuthClient(shared_auth.address) as client:
        yield client


@pytest.fixture
async def sign_in(shared_auth: ServiceProcess) -> AsyncIterator[SignIn]:
    client = SignIn(shared_auth.address)
    yield client
    await client.channel.close()
