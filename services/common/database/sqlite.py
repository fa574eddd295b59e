"""SQLite: one connection in one thread, one writer at a time, each synced commit on disk before it is reported."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from services.common.database.lanes import Lane
from services.common.database.transactions import ATTEMPTS, RetryTransaction, unavailable
from services.common.telemetry.logs import get_logger

log = get_logger()
T = TypeVar("T")

# How long a transaction waits for another process (a migration, a command) that writes, in seconds.
BUSY_SECONDS = 5.0

_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA foreign_keys=ON",
    f"PRAGMA busy_timeout={int(BUSY_SECONDS * 1000)}",
)
# Beginning with the write lock means that no transaction fails half-way for want of it. FULL syncs the whole log at the
# commit, with all that was written before; NORMAL may lose the last commits when the machine loses power.
_SYNCED, _UNSYNCED = (f"PRAGMA synchronous={level}; BEGIN IMMEDIATE" for level in ("FULL", "NORMAL"))


def _create_engine(url: sa.URL) -> sa.Engine:
    # SQLAlchemy and the driver begin no transactions of their own: saying so ourselves costs a tenth of the CPU.
    engine = sa.create_engine(
        url, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args={"timeout": BUSY_SECONDS}
    )
    sa.event.listen(engine, "connect", _configure)
    return engine


def _configure(connection: Any, _: object) -> None:
    for pragma in _PRAGMAS:
        connection.execute(pragma).close()


class SqliteBackend:
    """Runs transactions one after another; reads run beside them, as write-ahead logging allows."""

    def __init__(self, url: sa.URL) -> None:
        self._writer = _Worker(_create_engine(url), "sqlite-writer")
        self._readers = {lane: _Worker(_create_engine(url), f"sqlite-{lane.value}") for lane in Lane}

    async def transaction(self, work: Callable[[sa.Connection], T], *, synced: bool) -> T:
        """Runs the function with the write lock. Cancelling the caller does not stop a transaction that runs."""
        return await self._writer.run(work, _SYNCED if synced else _UNSYNCED)

    async def read(self, work: Callable[[sa.Connection], T], lane: Lane) -> T:
        """Runs the function on a snapshot, in the thread of its lane."""
        return await self._readers[lane].run(work, "BEGIN")

    async def close(self) -> None:
        """Closes the connections; the last one folds the write-ahead log into the database file."""
        for reader in self._readers.values():
            await reader.close()
        await self._writer.close()


class _Worker:
    """One connection in its own thread. Connecting costs more than a transaction, so the connection is kept."""

    def __init__(self, engine: sa.Engine, name: str) -> None:
        self._engine = engine
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._connection: sa.Connection | None = None

    async def run(self, work: Callable[[sa.Connection], T], begin: str) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, work, begin)

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect)
        self._thread.shutdown()

    def _run(self, work: Callable[[sa.Connection], T], begin: str) -> T:
        for _ in range(ATTEMPTS):
            try:
                return self._attempt(work, begin)
            except RetryTransaction:
                continue
            except (OperationalError, sqlite3.OperationalError) as error:
                # Locked, full or damaged: whoever tries again starts better with a new connection.
                log.warning("database_failed", reason=str(getattr(error, "orig", error)))
                self._disconnect()
                raise unavailable() from error
        raise unavailable()

    def _attempt(self, work: Callable[[sa.Connection], T], begin: str) -> T:
        if self._connection is None:
            self._connection = self._engine.connect()
        connection = self._connection
        driver = cast("sqlite3.Connection", connection.connection.driver_connection)
        # Not `execute`, which would keep the statement: the setting is made where the text is compiled.
        driver.executescript(begin)
        try:
            result = work(connection)
            driver.execute("COMMIT")
        except BaseException:
            driver.rollback()
            raise
        finally:
            if connection.in_transaction():
                # Only its own notion of one is ended: the driver's has ended already.
                connection.rollback()
        return result

    def _disconnect(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.close()
