"""A large and an empty ledger with a billing process each, on copies of what was filled once."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import asyncpg
import psutil
import sqlalchemy as sa

from bench.large_ledger.fill import ENTRIES_OF_REQUEST, fill
from bench.ledger import running_billing
from services.billing.store.store import MIGRATIONS
from services.common.database.base import Database
from services.common.database.migrations import migrate
from services.common.database.schema import revisions
from tests.support.postgres import PostgresServer, create_database, execute

_NO_AUDITS = {"AUDIT_SECONDS": "0", "FULL_AUDIT_SECONDS": "0"}


class Spent(NamedTuple):
    """CPU seconds and bytes written so far."""

    cpu_seconds: float
    written: int


@dataclass(frozen=True)
class Ledger:
    """A billing process, and the server of its database if it has one, which several may share."""

    address: str
    url: str
    billing: psutil.Process
    server: psutil.Process | None = None

    async def spent(self) -> Spent:
        """Returns user plus system time of both, and what was written.

        On SQLite those are the bytes of the write-ahead log and of its checkpoints; on PostgreSQL the log alone.
        """
        cpu = _cpu_seconds(self.billing)
        if self.server is None:
            return Spent(cpu, self.billing.io_counters().write_chars)
        cpu += _cpu_seconds(self.server) + sum(_cpu_seconds(each) for each in self.server.children(recursive=True))
        connection = await asyncpg.connect(self.url)
        written = await connection.fetchval("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')")
        await connection.close()
        return Spent(cpu, int(written))


class Pair(NamedTuple):
    """A large and an empty ledger, and how many seconds filling the large one took; 0 if it was there."""

    large: Ledger
    empty: Ledger
    filled: float


@contextmanager
def sqlite_ledgers(entries: int, kept: Path) -> Iterator[Pair]:
    """Runs billing on copies of SQLite files that are kept in a folder."""
    began = time.perf_counter()
    sources = [_kept_file(kept, each) for each in (entries, ENTRIES_OF_REQUEST)]
    filled = time.perf_counter() - began
    with tempfile.TemporaryDirectory(prefix="copy-", dir=kept) as folder:
        copies = [shutil.copyfile(source, Path(folder) / source.name) for source in sources]
        urls = [f"sqlite:///{copy}" for copy in copies]
        with running_billing(urls[0], **_NO_AUDITS) as large, running_billing(urls[1], **_NO_AUDITS) as empty:
            first, second = (
                Ledger(address, url, psutil.Process(process.pid))
                for url, (process, address) in zip(urls, (large, empty), strict=True)
            )
            yield Pair(first, second, filled)


@contextmanager
def postgresql_ledgers(entries: int, kept: Path) -> Iterator[Pair]:
    """Runs billing on copies of databases of a server that is kept in a folder; every commit is synced."""
    server = PostgresServer(durable=True, kept=kept)
    try:
        server.start()
        began = time.perf_counter()
        sources = [_kept_database(server.url, each) for each in (entries, ENTRIES_OF_REQUEST)]
        filled = time.perf_counter() - began
        urls = [create_database(server.url, f"{source} STRATEGY file_copy") for source in sources]
        try:
            with running_billing(urls[0], **_NO_AUDITS) as large, running_billing(urls[1], **_NO_AUDITS) as empty:
                first, second = (
                    Ledger(address, url, psutil.Process(process.pid), psutil.Process(server.pid))
                    for url, (process, address) in zip(urls, (large, empty), strict=True)
                )
                yield Pair(first, second, filled)
        finally:
            for url in urls:
                execute(server.url, f"DROP DATABASE {sa.make_url(url).database} WITH (FORCE)")
    finally:
        server.remove()


def _kept_file(kept: Path, entries: int) -> Path:
    path = kept / f"{_name(entries)}.db"
    if not path.exists():
        unfinished = path.with_suffix(".unfinished")
        unfinished.unlink(missing_ok=True)
        _make(f"sqlite:///{unfinished}", entries)
        unfinished.rename(path)
    return path


def _kept_database(server_url: str, entries: int) -> str:
    name = _name(entries)
    if not asyncio.run(_has_database(server_url, name)):
        url = create_database(server_url)
        _make(url, entries)
        execute(server_url, f"ALTER DATABASE {sa.make_url(url).database} RENAME TO {name}")
    return name


async def _has_database(server_url: str, name: str) -> bool:
    connection = await asyncpg.connect(server_url)
    found = await connection.fetchval("SELECT count(*) FROM pg_database WHERE datname = $1", name)
    await connection.close()
    return bool(found)


def _name(entries: int) -> str:
    return f"ledger_{entries}_{revisions(MIGRATIONS)[-1]}"


def _make(url: str, entries: int) -> None:
    asyncio.run(_make_schema(url))
    fill(url, entries // ENTRIES_OF_REQUEST)


async def _make_schema(url: str) -> None:
    database = Database(url)
    await migrate(database, MIGRATIONS)
    await database.close()


def _cpu_seconds(process: psutil.Process) -> float:
    """Returns user plus system time, also of processes that it started and that have ended."""
    try:
        return sum(process.cpu_times()[:4])
    except psutil.NoSuchProcess:
        # A worker of the server has ended in between, and counts with those now.
        return 0.0
