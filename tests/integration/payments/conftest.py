"""A real chain, and a real billing process; each test has a token and accounts of its own."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from services.billing.store.store import MIGRATIONS
from services.common.database.base import Database
from services.common.database.migrations import migrate
from tests.integration.payments.world import World
from tests.support.apart import run_apart
from tests.support.chain import Chain
from tests.support.process import ServiceProcess

# Of the chains that tests have for themselves.
_chain_ids = itertools.count(40_000)


async def _migrate(url: str) -> None:
    database = Database(url)
    await migrate(database, MIGRATIONS)
    await database.close()


def new_billing(directory: Path) -> ServiceProcess:
    """Returns a billing process with a new ledger, which is not started."""
    url = f"sqlite:///{directory / 'billing.db'}"
    run_apart(_migrate(url))
    return ServiceProcess("billing", directory, {"database_url": url})


@pytest.fixture(scope="module")
def chain() -> Iterator[Chain]:
    """One chain for the tests of a module, which leave its final blocks as they are."""
    chain = Chain()
    asyncio.run(chain.start())
    yield chain
    chain.stop()


@pytest.fixture
async def own_chain() -> AsyncIterator[Chain]:
    """A chain for a test that rewrites it: `finalized` is eight blocks behind the head."""
    async with Chain(chain_id=next(_chain_ids), epoch=4) as chain:
        yield chain


@pytest.fixture(scope="module")
def billing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """One ledger for the tests of a module."""
    process = new_billing(tmp_path_factory.mktemp("billing"))
    asyncio.run(process.start())
    yield process
    asyncio.run(process.kill())


@pytest.fixture
async def own_billing(tmp_path: Path) -> AsyncIterator[ServiceProcess]:
    """A new ledger for one test."""
    async with new_billing(tmp_path) as process:
        yield process


@pytest.fixture
async def world(chain: Chain, billing: ServiceProcess) -> AsyncIterator[World]:
    """A token on the shared chain, and accounts with addresses."""
    async with World(chain, billing.address) as world:
        yield world


@pytest.fixture
async def own_world(own_chain: Chain, billing: ServiceProcess) -> AsyncIterator[World]:
    """The same on a chain of the test's own."""
    async with World(own_chain, billing.address) as world:
        yield world
