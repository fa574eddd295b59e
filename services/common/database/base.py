"""One way to use SQLite and PostgreSQL: a function that runs in one transaction, all of it or none of it.

The function is synchronous SQLAlchemy Core on both databases. On SQLite it runs in one thread of its own, which costs
one thread hop for a transaction where aiosqlite costs one for each statement. On PostgreSQL it runs on the event loop
over asyncpg.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError

from services.common.database.lanes import Lane
from services.common.database.schema import check_schema
from services.common.errors import Code, MeshError
from services.common.retry.backoff import Backoff
from services.common.settings import SettingsError
from services.common.telemetry.logs import get_logger

log = get_logger()
T = TypeVar("T")

# Seconds between two attempts to reach a database that is away when a process starts.
FIRST_BACKOFF = 0.1
LONGEST_BACKOFF = 2.0


# How long a transaction waits for a row that another process has locked, in seconds.
LOCK_SECONDS = 5.0


class Backend(Protocol):
    """One kind of database."""

    async def transaction(self, work: Callable[[sa.Connection], T], *, synced: bool) -> T:
        """Runs the function in one committed transaction; raises MeshError UNAVAILABLE if the database is gone."""

    async def read(self, work: Callable[[sa.Connection], T], lane: Lane) -> T:
        """Runs the function on one consistent snapshot, without holding up transactions."""

    async def close(self) -> None:
        """Closes every connection."""


class Database:
    """Opens lazily: nothing is connected before `open` or the first transaction."""

    def __init__(self, url: str, *, lock_seconds: float = LOCK_SECONDS) -> None:
        """Takes `sqlite:///relative/path`, `sqlite:////absolute/path` or `postgresql://user:password@host/name`.

        `lock_seconds` is how long a transaction waits for a row that another process of PostgreSQL has locked.
        """
        self.url = parse_url(url)
        self.dialect = self.url.get_backend_name()
        self._backend = _backend(self.url, lock_seconds)

    async def open(self, *, migrations: Path) -> None:
        """Waits for the database, as long as it takes, and checks its schema.

        Raises SchemaError if the schema is not the one that the folder of migrations ends with.
        """
        backoff = Backoff(FIRST_BACKOFF, LONGEST_BACKOFF)
        while True:
            try:
                await self.transaction(lambda connection: check_schema(connection, migrations))
                break
            except MeshError as error:
                if error.code is not Code.UNAVAILABLE:
                    raise
                pause = backoff.next()
                reason = str(error.__cause__)
                log.warning("waiting_for_database", database=self.name, reason=reason, next_try=round(pause, 3))
            await asyncio.sleep(pause)
        log.info("database_open", database=self.name)

    @property
    def name(self) -> str:
        """The URL without its password, for logs."""
        return self.url.render_as_string(hide_password=True)

    async def transaction(self, work: Callable[[sa.Connection], T], *, synced: bool = True) -> T:
        """Runs the function in one transaction and returns its result after the commit.

        A commit that is not `synced` does not wait for the disk. Until the next synced commit, which puts everything
        before it on the disk as well, it can be undone: on SQLite by a machine that loses power, on PostgreSQL by any
        crash of the server. With it goes every later commit that was not synced, so that what is left is consistent.

        The function may run more than once, each time in a new transaction: when a deadlock or a broken connection
        undid the one before, or when it raised RetryTransaction. After a connection broke during the commit nobody
        knows whether it took place, so functions are idempotent. Raises what the function raises, and MeshError
        UNAVAILABLE when the database cannot be reached or does not answer, which is a RowLockedError if a row stays
        locked.
        """
        return await self._backend.transaction(work, synced=synced)

    async def read(self, work: Callable[[sa.Connection], T], lane: Lane = Lane.SHORT) -> T:
        """Runs a function that only reads, on one consistent snapshot.

        However long it takes, transactions and reads of other lanes go on. Raises what the function raises, and
        MeshError UNAVAILABLE like `transaction`.
        """
        return await self._backend.read(work, lane)

    async def close(self) -> None:
        """Closes every connection."""
        await self._backend.close()


def _backend(url: sa.URL, lock_seconds: float) -> Backend:
    # Each is imported only where it is used: the drivers cost every process memory.
    if url.get_backend_name() == "sqlite":
        from services.common.database.sqlite import SqliteBackend

        return SqliteBackend(url)
    from services.common.database.postgresql import PostgresqlBackend

    return PostgresqlBackend(url, lock_seconds)


def parse_url(url: str) -> sa.URL:
    """Chooses the driver for a database URL; raises SettingsError for one that this software cannot use."""
    try:
        parsed = sa.make_url(url)
    except ArgumentError as error:
        raise SettingsError(
            "a DATABASE_URL is not a URL: sqlite:///path or postgresql://user:password@host/name"
        ) from error
    name = parsed.get_backend_name()
    if name == "sqlite" and parsed.database and parsed.database != ":memory:":
        return parsed.set(drivername="sqlite+pysqlite")
    if name in {"postgresql", "postgres"}:
        # asyncpg calls it "ssl"; everybody else calls it "sslmode".
        query = {("ssl" if key == "sslmode" else key): value for key, value in parsed.query.items()}
        return parsed.set(drivername="postgresql+asyncpg", query=query)
    raise SettingsError(f"a DATABASE_URL is sqlite:///path or postgresql://…, not {name}://…")
