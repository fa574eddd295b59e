"""Prints what a replica of auth spends on many keys: `python -m bench.scale.keys`.

It fills a database with keys, loads them as a replica does at its start, and verifies some. Memory is the growth of the
process. A pause is a time for which the event loop ran nothing else. On a machine that is busy with other work, a pause
is longer than what it took of the CPU: so it is printed what the thread of the event loop took, and what other threads
of the process took, which hold it up too.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import sqlalchemy as sa

from bench.machine import header
from services.auth.changes import ChangeFollower
from services.auth.key_cache import KeyCache, KeyLookup, NotInMemory
from services.auth.keys import ApiKey, digest_of, hint_of
from services.auth.labels import new_id
from services.auth.store.store import MIGRATIONS, AuthStore
from services.auth.store.tables import accounts, api_keys, to_row
from services.common.clock import system_clock, to_ms
from services.common.database.base import Database
from services.common.database.migrations import migrate
from tests.support.process import ServiceProcess

KEYS_AN_ACCOUNT = 5
BATCH = 10_000
VERIFIED = 20_000


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale.keys", description=__doc__)
    parser.add_argument("--keys", default="100000,1000000", help="how many, comma-separated")
    parser.add_argument("--limit", type=int, default=1_000_000, help="how many keys are held in memory")
    parser.add_argument("--database", default="", help="the URL of an empty database; a SQLite file if there is none")
    arguments = parser.parse_args()
    counts = arguments.keys.split(",")
    if len(counts) == 1:
        print(header())
        asyncio.run(measure(int(counts[0]), arguments.limit, arguments.database))
        return
    if arguments.database:
        parser.error("Give one number of keys for a database of your own.")
    for count in counts:
        # Memory is measured in a process that has held no keys before.
        command = [sys.executable, "-m", "bench.scale.keys", "--keys", count, "--limit", str(arguments.limit)]
        subprocess.run(command, check=True)


async def measure(count: int, limit: int, url: str) -> None:
    with tempfile.TemporaryDirectory(prefix="tiermesh-bench-") as folder:
        url = url or f"sqlite:///{Path(folder) / 'auth.db'}"
        database = Database(url)
        await migrate(database, MIGRATIONS)
        secrets = await fill(database, count)
        await report_process(url, Path(folder), limit)
        gc.collect()
        cache, before = KeyCache(limit), rss_megabytes()
        follower = ChangeFollower(AuthStore(database), cache, interval=1.0, max_stale=30.0)
        # As auth does before it loads keys, and after.
        gc.freeze()
        began = time.process_time()
        with longest_collection() as collections:
            async with noted_pauses() as pauses:
                await follower.load()
        report("loading", f"{time.process_time() - began:.1f} s of CPU")
        report_pauses("while loading", pauses)
        report("longest garbage collection", f"{max(collections, default=0.0) * 1000:.0f} ms")
        gc.collect()
        report(f"memory of {len(cache):,} keys", f"{rss_megabytes() - before:.0f} MB")
        gc.freeze()
        with longest_collection() as collections:
            gc.collect()
        report("a full garbage collection", f"{max(collections) * 1000:.0f} ms")
        elsewhere = [digest for secret in secrets if (digest := digest_elsewhere(cache, secret))]
        async with noted_pauses() as pauses:
            await cache.prune(to_ms(system_clock()))
        report_pauses("while pruning", pauses)
        secrets = [secret for secret in secrets if digest_of(secret) not in set(elsewhere)]
        verify(cache, secrets, "verifying a key for the first time")
        used = secrets[-1000:]
        verify(cache, used, "verifying a key that is in use")
        if elsewhere:
            await look_up(KeyLookup(cache, AuthStore(database)), elsewhere)
        await database.close()


async def fill(database: Database, count: int) -> list[str]:
    """Makes the keys, and returns some of them."""
    chance = random.Random(1)
    shown: list[str] = []
    for made in range(0, count, BATCH):
        owners: list[dict[str, Any]] = []
        rows: list[dict[str, Any]] = []
        for number in range(made, min(made + BATCH, count)):
            if number % KEYS_AN_ACCOUNT == 0:
                owners.append({"id": new_id("acct", chance.randbytes), "name": "", "created_at_ms": 1})
            secret = f"sk-bench-{number}-{chance.getrandbits(64)}"
            rows.append(to_row(key_of(new_id("key", chance.randbytes), owners[-1]["id"], secret)))
            if len(shown) < VERIFIED:
                shown.append(secret)
        await database.transaction(partial(insert, owners, rows))
    return shown


def insert(owners: list[dict[str, Any]], rows: list[dict[str, Any]], connection: sa.Connection) -> None:
    connection.execute(accounts.insert(), owners)
    connection.execute(api_keys.insert(), rows)


def key_of(key_id: str, account_id: str, secret: str) -> ApiKey:
    return ApiKey(
        id=key_id,
        account_id=account_id,
        name="bench",
        hint=hint_of(secret),
        digest=digest_of(secret),
        requests_per_minute=60,
        created_at_ms=1,
    )


@contextmanager
def longest_collection() -> Iterator[list[float]]:
    """Collects how long each garbage collection takes."""
    seconds: list[float] = []
    began = 0.0

    def note(phase: str, info: object) -> None:
        del info
        nonlocal began
        if phase == "start":
            began = time.thread_time()
        else:
            seconds.append(time.thread_time() - began)

    gc.callbacks.append(note)
    yield seconds
    gc.callbacks.remove(note)


class Pause(NamedTuple):
    """How long something else ran, and the CPU time that this process took meanwhile; in seconds."""

    wall: float
    loop: float
    process: float

    @classmethod
    def at_this_moment(cls) -> Pause:
        return cls(time.perf_counter(), time.thread_time(), time.process_time())


@asynccontextmanager
async def noted_pauses() -> AsyncIterator[list[Pause]]:
    """Collects how much later than asked for a task goes on that sleeps a millisecond at a time."""
    pauses: list[Pause] = []

    async def look() -> None:
        while True:
            began = Pause.at_this_moment()
            await asyncio.sleep(0.001)
            ended = Pause.at_this_moment()
            pauses.append(
                Pause(ended.wall - began.wall - 0.001, ended.loop - began.loop, ended.process - began.process)
            )

    task = asyncio.create_task(look())
    await asyncio.sleep(0.01)
    yield pauses
    await asyncio.sleep(0.01)
    task.cancel()


def report_pauses(when: str, pauses: list[Pause]) -> None:
    longest = max(pauses)
    cpu = f"{longest.loop * 1000:.0f} ms of CPU in the event loop, {longest.process * 1000:.0f} ms in all threads"
    report(f"longest pause {when}", f"{longest.wall * 1000:.0f} ms: {cpu}")
    report(f"most CPU of a pause {when}", f"{max(pause.loop for pause in pauses) * 1000:.0f} ms in the event loop")


def verify(cache: KeyCache, secrets: list[str], what: str) -> None:
    now_ms = to_ms(system_clock())
    keys = iter(secrets)
    seconds = timeit.timeit(lambda: cache.verify(next(keys), now_ms), timer=time.process_time, number=len(secrets))
    report(what, f"{seconds / len(secrets) * 1e6:.1f} µs")


def digest_elsewhere(cache: KeyCache, secret: str) -> bytes:
    """Returns the digest of a key that is not in memory; nothing for one that is."""
    try:
        cache.verify(secret, 1)
    except NotInMemory as unread:
        return unread.digest
    return b""


async def look_up(lookup: KeyLookup, digests: list[bytes]) -> None:
    """Reads keys that are not in memory: one at a time, and as many as one query takes."""
    for size in (1, 250):
        frames = [digests[first : first + size] for first in range(0, 20 * size, size)]
        began, began_at = time.process_time(), time.perf_counter()
        async with noted_pauses() as pauses:
            for frame in frames:
                await lookup.read(frame)
        cpu, wall = time.process_time() - began, time.perf_counter() - began_at
        keys = len(frames) * size
        report(
            f"a lookup of {size} keys", f"{wall / len(frames) * 1000:.1f} ms; {cpu / keys * 1e6:.0f} µs of CPU a key"
        )
        report_pauses(f"of lookups of {size}", pauses)


async def report_process(url: str, folder: Path, limit: int) -> None:
    """Starts auth itself on the database, and prints what it takes once it is ready."""
    async with ServiceProcess("auth", folder, {"database_url": url, "max_keys_in_memory": str(limit)}) as auth:
        report("memory of the whole process of auth", f"{rss_megabytes(auth.pid):.0f} MB")


def rss_megabytes(pid: int | None = None) -> float:
    return psutil.Process(pid).memory_info().rss / 1e6


def report(what: str, figure: str) -> None:
    print(f"{what:<36} {figure}")


if __name__ == "__main__":
    main()
