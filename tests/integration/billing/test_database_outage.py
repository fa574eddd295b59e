"""What callers see while the database is away, missing or of another version."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sized
from pathlib import Path

import pytest

from services.billing.store.store import MIGRATIONS
from services.common.database.base import Database
from services.common.database.migrations import migrate
from services.common.errors import Code, MeshError
from tests.integration.billing.billing_client import PRICE, BillingClient
from tests.support.forked_service import ForkedServiceProcess
from tests.support.postgres import PostgresServer, create_database
from tests.support.waiting import eventually


@pytest.fixture
async def server() -> AsyncIterator[PostgresServer]:
    """A server of the test's own, to be killed."""
    server = await asyncio.to_thread(PostgresServer)
    await asyncio.to_thread(server.start)
    yield server
    await asyncio.to_thread(server.remove)


@pytest.fixture
async def url(server: PostgresServer) -> str:
    """A ledger on that server."""
    url = create_database(server.url)
    database = Database(url)
    await migrate(database, MIGRATIONS)
    await database.close()
    return url


async def more(things: Sized) -> None:
    """Waits until there are a few more of them than now."""
    enough = len(things) + 8
    await eventually(lambda: len(things) >= enough, 20.0)


async def until_settled(client: BillingClient, request_id: str, failures: list[MeshError]) -> None:
    """Settles a request, and makes a hold again that the server has lost by its death, as an edge does."""
    lost = False
    while True:
        try:
            if lost:
                await client.reserve(request_id)
            await client.settle(request_id)
        except MeshError as error:
            lost = error.code is Code.NOT_FOUND
            if not lost:
                failures.append(error)
        else:
            return


async def test_postgres_dies_under_load_and_comes_back(server: PostgresServer, url: str, tmp_path: Path) -> None:
    async with (
        ForkedServiceProcess("billing", tmp_path, {"database_url": url}) as process,
        BillingClient(process.address) as client,
    ):
        await client.grant(1_000 * PRICE)
        charged: list[str] = []
        failures: list[MeshError] = []
        stop = asyncio.Event()

        async def edge(name: str) -> None:
            number = 0
            while not stop.is_set():
                number += 1
                try:
                    await client.reserve(f"{name}-{number}")
                except MeshError as error:
                    failures.append(error)
                    continue
                await until_settled(client, f"{name}-{number}", failures)
                charged.append(name)

        edges = [asyncio.create_task(edge(f"edge{number}")) for number in range(8)]
        for _ in range(2):
            await more(charged)
            await asyncio.to_thread(server.kill)
            await more(failures)
            await asyncio.to_thread(server.start)
        await more(charged)
        stop.set()
        await asyncio.gather(*edges)
        assert {error.code for error in failures} == {Code.UNAVAILABLE}
        assert all(error.retry_after > 0 for error in failures)
        report = await client.audit()
        assert not report.violations
        available, held = await client.balance()
        # A reserve whose answer was lost may have left a hold; nothing was charged that was not served.
        assert available + held == 1_000 * PRICE - len(charged) * PRICE


async def test_the_service_waits_for_its_database(server: PostgresServer, url: str, tmp_path: Path) -> None:
    await asyncio.to_thread(server.stop)
    process = ForkedServiceProcess("billing", tmp_path, {"database_url": url})
    await process.start(ready=False)
    await eventually(lambda: "waiting_for_database" in process.log())
    assert not await process.ready()
    await asyncio.to_thread(server.start)
    await eventually(process.ready)
    assert await process.stop() == 0


async def test_a_service_that_waits_can_be_stopped(tmp_path: Path) -> None:
    process = ForkedServiceProcess("billing", tmp_path, {"database_url": "postgresql://postgres@127.0.0.1:1/nothing"})
    await process.start(ready=False)
    await eventually(lambda: "waiting_for_database" in process.log())
    assert await process.stop() == 0


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        ("UPDATE billing_schema_version SET version_num = '0000'", "which is newer than this version knows"),
        ("DROP TABLE billing_schema_version", "run `python -m services.billing.migrate`"),
    ],
)
async def test_the_service_refuses_another_schema(
    database: Database, database_url: str, tmp_path: Path, change: str, advice: str
) -> None:
    await database.transaction(lambda connection: connection.exec_driver_sql(change).close())
    process = ForkedServiceProcess("billing", tmp_path, {"database_url": database_url})
    with pytest.raises(AssertionError, match="ended while it should run"):
        await process.start()
    assert "cannot start: the database" in process.log()
    assert advice in process.log()
    assert "Traceback" not in process.log()
