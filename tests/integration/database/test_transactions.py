"""Transactions on both kinds of database: all or nothing, again when that helps, and never for ever."""

from __future__ import annotations

import asyncio
import threading
from functools import partial

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from services.common.database.base import Database
from services.common.database.lanes import Lane
from services.common.database.postgresql import CONNECT_SECONDS
from services.common.database.transactions import ATTEMPTS, RetryTransaction
from services.common.errors import Code, MeshError
from tests.support.deadlines import stretched, within


def insert(connection: sa.Connection, number: int = 1) -> None:
    connection.execute(sa.text("INSERT INTO numbers VALUES (:n)"), {"n": number})


def count(connection: sa.Connection) -> int:
    return int(connection.execute(sa.text("SELECT count(*) FROM numbers")).scalar_one())


async def test_a_transaction_is_committed(database: Database, url: str) -> None:
    await database.transaction(insert)
    assert await database.transaction(count) == await database.read(count) == 1
    other = Database(url)
    assert await other.read(count) == 1
    await other.close()


async def test_what_raises_leaves_nothing_behind(database: Database) -> None:
    def work(connection: sa.Connection) -> None:
        insert(connection)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await database.transaction(work)
    assert await database.read(count) == 0


async def test_a_broken_constraint_is_the_callers_business(database: Database) -> None:
    def work(connection: sa.Connection) -> None:
        insert(connection)
        connection.execute(sa.text("CREATE UNIQUE INDEX one ON numbers (n)"))
        insert(connection)

    with pytest.raises(IntegrityError):
        await database.transaction(work)
    assert await database.read(count) == 0


async def test_work_can_ask_to_start_over(database: Database) -> None:
    attempts = 0

    def work(connection: sa.Connection) -> int:
        nonlocal attempts
        attempts += 1
        insert(connection)
        if attempts < 3:
            raise RetryTransaction
        return count(connection)

    assert await database.transaction(work) == 1
    assert attempts == 3


async def test_starting_over_has_an_end(database: Database) -> None:
    attempts = 0

    def work(connection: sa.Connection) -> None:
        nonlocal attempts
        attempts += 1
        raise RetryTransaction

    with pytest.raises(MeshError) as failed:
        await database.transaction(work)
    assert (failed.value.code, failed.value.retry_after, attempts) == (Code.UNAVAILABLE, 1.0, ATTEMPTS)


async def test_reads_see_one_moment_and_hold_nobody_up(database: Database) -> None:
    loop = asyncio.get_running_loop()
    reading, written = asyncio.Event(), threading.Event()

    def work(connection: sa.Connection) -> tuple[int, int]:
        first = count(connection)
        loop.call_soon_threadsafe(reading.set)
        if connection.dialect.name == "sqlite":
            assert written.wait(10)
        else:
            sa.util.await_only(wait_for_writing())
        return first, count(connection)

    async def wait_for_writing() -> None:
        await asyncio.to_thread(written.wait, 10)

    reader = asyncio.create_task(database.read(work))
    await reading.wait()
    await database.transaction(insert)
    written.set()
    assert await reader == (0, 0)
    assert await database.read(count) == 1


async def test_transactions_at_once_all_happen(database: Database) -> None:
    await asyncio.gather(*(database.transaction(partial(insert, number=n)) for n in range(50)))
    assert await database.read(count) == 50


async def test_callers_may_be_cancelled_at_any_moment(database: Database, url: str) -> None:
    other = Database(url)

    async def use(number: int) -> None:
        while True:
            await database.transaction(partial(insert, number=-number))
            await database.read(count)

    for number in range(1, 101):
        task = asyncio.create_task(use(number))
        for _ in range(number % 60):
            await asyncio.sleep(0)
        task.cancel()
        # Nothing of the driver's may turn the cancellation into a failure to be tried again.
        async with within(5):
            await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        # What the next caller commits is committed, not a part of what the cancelled one had begun.
        await database.transaction(partial(insert, number=number))
        seen = await other.read(lambda connection: connection.execute(sa.text("SELECT max(n) FROM numbers")).scalar())
        assert seen == number
    await other.close()


async def test_reads_of_one_lane_hold_up_no_other(database: Database) -> None:
    """Waits inside a read in a way that both databases allow: another read must end it."""
    going_on = threading.Event()

    def wait(connection: sa.Connection) -> int:
        if database.dialect == "sqlite":
            assert going_on.wait(stretched(10))
        else:
            while not going_on.is_set():
                connection.execute(sa.text("SELECT pg_sleep(0.01)"))
        return count(connection)

    await database.transaction(insert)
    slow = [asyncio.create_task(database.read(wait, lane)) for lane in (Lane.WHOLE, Lane.REPORT)]
    async with within(5):
        # More than a pool has connections, one after another.
        for _ in range(3):
            assert await database.read(count) == 1
            await database.transaction(insert)
            await database.transaction(partial(_delete, keep=1))
    assert not any(task.done() for task in slow)
    going_on.set()
    # They see the moment at which they began, or one between two transactions.
    assert all(seen >= 1 for seen in await asyncio.gather(*slow))


async def test_an_audit_waits_for_the_one_that_runs(database: Database) -> None:
    """Longer than a short read waits for a connection."""

    def wait(connection: sa.Connection) -> int:
        if database.dialect == "sqlite":
            threading.Event().wait(CONNECT_SECONDS + 0.5)
        else:
            connection.execute(sa.text(f"SELECT pg_sleep({CONNECT_SECONDS + 0.5})"))
        return count(connection)

    async with within(20):
        assert await asyncio.gather(*(database.read(work, Lane.WHOLE) for work in (wait, count))) == [0, 0]


def _delete(connection: sa.Connection, keep: int) -> None:
    connection.execute(sa.text("DELETE FROM numbers"))
    for _ in range(keep):
        insert(connection)
