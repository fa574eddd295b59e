"""The ledger's database: the real store on SQLite, which does each transaction at one moment of the virtual clock.

It stands for a database server. It outlives every process of billing, and what it was asked to do it may do although
the process that asked is dead.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from services.billing.store.store import MIGRATIONS
from services.common.database.base import Database
from services.common.database.migrations import migrate
from services.common.database.transactions import unavailable
from tests.simulator.machine.loop import VirtualLoop, current_process

T = TypeVar("T")
# Seconds that a transaction takes.
_LEAST, _MOST = 0.0005, 0.004
_CHARGED = "SELECT coalesce(-sum(amount), 0) FROM entries WHERE reference = ? AND account_id NOT LIKE 'system:%'"
_OPEN = "SELECT request_id FROM holds WHERE state = 'open'"


class _WatchedDatabase(Database):
    """Says what it is about to do, and what it has put on the disk."""

    def __init__(self, url: str, ledger: LedgerFile) -> None:
        super().__init__(url)
        self._ledger = ledger

    async def transaction(self, work: Callable[[sa.Connection], T], *, synced: bool = True) -> T:
        def watched(connection: sa.Connection) -> T:
            if not synced:
                self._ledger.keep_synced()
            driver: Any = connection.connection.driver_connection
            changes = driver.total_changes
            result = work(connection)
            if synced and driver.total_changes != changes:
                self._ledger.forget_synced()
            return result

        return await super().transaction(watched, synced=synced)


class LedgerFile:
    """A migrated database in memory, if the machine has a file system there; it serves one run after the other."""

    def __init__(self) -> None:
        memory = Path("/dev/shm")
        self._directory = tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None)
        path = Path(self._directory.name) / "billing.db"
        self.url = f"sqlite:///{path}"
        asyncio.run(self._migrate())
        # Everything runs in this thread, so the connections of the store are made here too.
        self.database: Database = _WatchedDatabase(self.url, self)
        # What a crash leaves, if that is less than everything.
        self._synced: sqlite3.Connection | None = None
        self._reader = sqlite3.connect(path)
        self._empty = sqlite3.connect(":memory:")
        self._reader.backup(self._empty)

    async def _migrate(self) -> None:
        database = Database(self.url)
        await migrate(database, MIGRATIONS)
        await database.close()

    def empty(self) -> None:
        """Makes it as it was at first: rows of a ledger cannot be deleted."""
        self.forget_synced()
        self._empty.backup(self._reader)

    def keep_synced(self) -> None:
        """Keeps what is on the disk, before something is committed that is not."""
        if self._synced is None:
            self._synced = sqlite3.connect(":memory:")
            self._reader.backup(self._synced)

    def forget_synced(self) -> None:
        """Notes that everything is on the disk now."""
        if self._synced is not None:
            self._synced.close()
            self._synced = None

    def crash(self) -> None:
        """Loses every commit that is not on the disk."""
        if self._synced is not None:
            self._synced.backup(self._reader)
            self.forget_synced()

    def charged(self, request_id: str) -> int:
        """What a request has cost so far, in credits."""
        return int(self._reader.execute(_CHARGED, (request_id,)).fetchone()[0])

    def open_holds(self) -> set[str]:
        """The requests whose holds are open."""
        return {request_id for (request_id,) in self._reader.execute(_OPEN)}

    def close(self) -> None:
        """Removes the file."""
        self._reader.close()
        self._directory.cleanup()


class DatabaseServer:
    """Does what the services' threads would do, each piece at one moment."""

    def __init__(self, loop: VirtualLoop, chance: random.Random, ledger: LedgerFile) -> None:
        self._loop = loop
        self._ledger = ledger
        self._chance = chance
        self._process = loop.process("database")
        # Until when it answers nothing but errors.
        self.away_until = 0.0
        # How much longer it takes at most for each process whose connection to it is bad, in seconds.
        self.slow: dict[str, float] = {}
        # What it was asked and has not done.
        self.in_progress = 0
        loop.execute = self._execute

    def crash(self, seconds: float) -> None:
        """Loses what is not on the disk, and is away for so long."""
        self._ledger.crash()
        self.away_until = self._loop.now + seconds

    def _execute(self, work: Callable[[], Any]) -> asyncio.Future[Any]:
        future = self._loop.create_future()
        process = current_process()
        context = process.context.copy()
        self.in_progress += 1

        def answer(result: Any, error: BaseException | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        def do() -> None:
            result, error = self._do(work)
            self.in_progress -= 1
            self._loop.call_later(self._delay(process.name), answer, result, error, context=context)

        self._loop.call_later(self._delay(process.name), do, context=self._process.context.copy())
        return future

    def _do(self, work: Callable[[], Any]) -> tuple[Any, BaseException | None]:
        if self._loop.now < self.away_until:
            if self._chance.random() < 0.5:
                return None, unavailable()
            # The connection breaks during the commit: it is done, and nobody hears of it.
            _attempt(work)
            return None, unavailable()
        return _attempt(work)

    def _delay(self, name: str) -> float:
        seconds = self._chance.uniform(_LEAST, _MOST)
        slow = self.slow.get(name)
        return seconds if slow is None or self._chance.random() < 0.5 else seconds + self._chance.random() * slow


def _attempt(work: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    try:
        return work(), None
    except Exception as error:  # noqa: BLE001 - it is raised where the thread is waited for
        return None, error
