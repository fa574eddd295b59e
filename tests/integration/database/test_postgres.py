"""What is particular to PostgreSQL: deadlocks, restarts, and servers that are not there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa
from sqlalchemy.util import await_only

from services.common.database.base import Database
from services.common.errors import Code, MeshError
from tests.support.ports import free_address
from tests.support.postgres import PostgresServer, create_database


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[Database]:
    """Two numbered rows to lock."""
    database = Database(create_database(postgres_url))

    def prepare(connection: sa.Connection) -> None:
        connection.execute(sa.text("CREATE TABLE numbers (n INTEGER PRIMARY KEY, visits INTEGER)"))
        connection.execute(sa.text("INSERT INTO numbers VALUES (1, 0), (2, 0)"))

    await database.transaction(prepare)
    yield database
    await database.close()


async def test_the_loser_of_a_deadlock_starts_over(database: Database) -> None:
    both_have_one = asyncio.Barrier(2)
    attempts = 0

    async def meet() -> None:
        await both_have_one.wait()

    async def visit(first: int, second: int) -> None:
        def work(connection: sa.Connection) -> None:
            nonlocal attempts
            attempts += 1
            mark = sa.text("UPDATE numbers SET visits = visits + 1 WHERE n = :n")
            connection.execute(mark, {"n": first})
            if attempts <= 2:
                await_only(meet())
            connection.execute(mark, {"n": second})

        await database.transaction(work)

    await asyncio.gather(visit(1, 2), visit(2, 1))
    assert attempts == 3
    total = await database.read(
        lambda connection: connection.execute(sa.text("SELECT sum(visits) FROM numbers")).scalar()
    )
    assert total == 4


async def test_reads_cannot_write(database: Database) -> None:
    with pytest.raises(MeshError):
        await database.read(lambda connection: connection.execute(sa.text("DELETE FROM numbers")).close())


async def test_nobody_listens() -> None:
    database = Database(f"postgresql://postgres@{free_address()}/nothing")
    with pytest.raises(MeshError) as failed:
        await database.transaction(lambda _: None)
    assert (failed.value.code, failed.value.retry_after) == (Code.UNAVAILABLE, 1.0)
    await database.close()


async def test_a_restarted_server_is_used_again_at_once() -> None:
    server = await asyncio.to_thread(PostgresServer)
    database = Database(server.url)

    async def select() -> object:
        return await database.transaction(lambda connection: connection.execute(sa.text("SELECT 1")).scalar())

    try:
        await asyncio.to_thread(server.start)
        # Every connection of the pool is dead after the restart; the caller does not notice.
        await asyncio.gather(*(select() for _ in range(4)))
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        assert await asyncio.gather(*(select() for _ in range(4))) == [1] * 4
        await asyncio.to_thread(server.kill)
        with pytest.raises(MeshError) as failed:
            await select()
        assert failed.value.code is Code.UNAVAILABLE
    finally:
        await database.close()
        await asyncio.to_thread(server.remove)
