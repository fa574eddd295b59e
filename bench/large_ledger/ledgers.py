"""A large and an empty ledger with a billing process each, on copies of what was filled once."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple, cast

import asyncpg
import psutil
import sqlalchemy as sa

from bench.large_ledger.billing import Pace
from bench.large_ledger.fill import ENTRIES_OF_REQUEST, fill
from bench.ledger import running_billing
from bench.processes import thread_seconds
from services.billing.store.store import MIGRATIONS
from services.common.database.base import Database
from services.common.database.migrations import migrate
from services.common.database.schema import revisions
from tests.support.postgres import PostgresServer, create_database, execute

_PROGRAM = "bench.large_ledger.billing"
_NO_AUDITS = {"AUDIT_SECONDS": "0", "FULL_AUDIT_SECONDS": "0"}
# What reads for an audit, on each database: a thread of billing, or a process of the server.
_AUDITING_THREAD = "sqlite-whole_0"
_AUDITING_PROCESSES = """
    SELECT pid FROM pg_stat_activity WHERE application_name = 'tiermesh-whole' AND datname = current_database()
"""


class Spent(NamedTuple):
    """CPU seconds of charges and of audits, and bytes written so far."""

    cpu_seconds: float
    audit_seconds: float
    written: int


@dataclass(frozen=True)
class Ledger:
    """A billing process, and the server of its database if it has one, which several may share."""

    address: str
    url: str
    billing: psutil.Process
    orders: IO[bytes]
    server: psutil.Process | None = None

    def pace_audits(self, pace: Pace) -> None:
        """Says how audits are to go on; a slice that is being read is read to its end."""
        self.orders.write(pace.value)
        self.orders.flush()

    async def spent(self) -> Spent:
        """Returns user plus system time of both, that which is spent on reading for audits apart, and what was written.

        On SQLite those are the bytes of the write-ahead log and of its checkpoints; on PostgreSQL the log alone.
        """
        cpu = _cpu_seconds(self.billing)
        if self.server is None:
            audits = thread_seconds(self.billing.pid, _AUDITING_THREAD)
            return Spent(cpu - audits, audits, self.billing.io_counters().write_chars)
        cpu += _cpu_seconds(self.server) + sum(_cpu_seconds(each) for each in self.server.children(recursive=True))
        connection = await asyncpg.connect(self.url)
        written = await connection.fetchval("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')")
        auditing = [psutil.Process(row["pid"]) for row in await connection.fetch(_AUDITING_PROCESSES)]
        await connection.close()
        audits = sum(map(_cpu_seconds, auditing))
        return Spent(cpu - audits, audits, int(written))


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
        with _running_pair(urls, None) as (large, empty):
            yield Pair(large, empty, filled)


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
            with _running_pair(urls, psutil.Process(server.pid)) as (large, empty):
                yield Pair(large, empty, filled)
        finally:
            for url in urls:
                execute(server.url, f"DROP DATABASE {sa.make_url(url).database} WITH (FORCE)")
    finally:
        server.remove()


@contextmanager
def _running_pair(urls: Sequence[str], server: psutil.Process | None) -> Iterator[tuple[Ledger, Ledger]]:
    """Runs billing on two databases."""
    with ExitStack() as stack:
        first, second = (
            Ledger(address, url, psutil.Process(process.pid), cast("IO[bytes]", process.stdin), server)
            for url in urls
            for process, address in [stack.enter_context(running_billing(url, _PROGRAM, **_NO_AUDITS))]
        )
        yield first, second


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
