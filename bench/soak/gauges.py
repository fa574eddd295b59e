"""What the processes and the database of a mesh occupy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import median
from typing import Any

import psutil

# The process of which there is another one for each connection.
POSTGRES = "postgres"


@dataclass(frozen=True, slots=True)
class Occupied:
    """What one look shows, by process: megabytes of memory, and open file descriptors."""

    memory: dict[str, float]
    descriptors: dict[str, float]


@dataclass(frozen=True, slots=True)
class Disk:
    """Megabytes: of all databases, of the files of the write-ahead log, and of all that was ever written to it."""

    databases: float
    log: float
    logged: float


def look(pids: Mapping[str, int]) -> Occupied:
    """Looks at all processes; raises psutil.NoSuchProcess if one has ended."""
    seen = {name: _postgres(pid) if name == POSTGRES else _process(psutil.Process(pid)) for name, pid in pids.items()}
    return Occupied(*({name: figures[at] for name, figures in seen.items()} for at in range(2)))


def medians(looks: Sequence[Occupied]) -> Occupied:
    """Returns the median of each figure: a process that is busy for a moment is no trend."""
    names = looks[0].memory
    return Occupied(
        {name: median(each.memory[name] for each in looks) for name in names},
        {name: median(each.descriptors[name] for each in looks) for name in names},
    )


async def disk(database_url: str) -> Disk:
    """Asks PostgreSQL."""
    import asyncpg

    connection: Any = await asyncpg.connect(database_url)
    try:
        row = await connection.fetchrow(
            "SELECT (SELECT sum(pg_database_size(oid)) FROM pg_database), (SELECT sum(size) FROM pg_ls_waldir()),"
            " pg_current_wal_lsn() - '0/0'"
        )
    finally:
        await connection.close()
    return Disk(*(float(value) / 1e6 for value in row))


def _process(process: psutil.Process) -> tuple[float, float]:
    return process.memory_info().rss / 1e6, float(process.num_fds())


def _postgres(pid: int) -> tuple[float, float]:
    """Adds all processes up, without the buffers that they share, which fill up to a size that is configured."""
    server = psutil.Process(pid)
    memory = descriptors = 0.0
    for process in (server, *server.children()):
        with suppress(psutil.NoSuchProcess):
            used = process.memory_info()
            memory += (used.rss - used.shared) / 1e6
            descriptors += process.num_fds()
    return memory, descriptors
