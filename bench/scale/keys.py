"""Prints what a replica of auth spends on many keys: `python -m bench.scale.keys`.

It fills a database with keys, loads them as a replica does at its start, and verifies some. Memory is the growth of the
process. A pause is the longest time for which the event loop ran nothing else.
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
from typing import Any

import psutil
import sqlalchemy as sa

from bench.machine import header
from services.auth.changes import ChangeFollower
from services.auth.key_cache import KeyCache
from services.auth.keys import ApiKey, digest_of, hint_of
from services.auth.labels import new_id
from services.auth.store.store import MIGRATIONS, AuthStore
from services.auth.store.tables import accounts, api_keys, to_row
from services.common.clock import system_clock, to_ms
from services.common.database.base import Database
from services.common.database.migrations import migrate

KEYS_AN_ACCOUNT = 5
BATCH = 10_000
VERIFIED = 20_000


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale.keys", description=__doc__)
    parser.add_argument("--keys", default="100000,1000000", help="how many, comma-separated")
    arguments = parser.parse_args()
    counts = arguments.keys.split(",")
    if len(counts) == 1:
        print(header())
        asyncio.run(measure(int(counts[0])))
        return
    for count in counts:
        # Memory is measured in a process that has held no keys before.
        subprocess.run([sys.executable, "-m", "bench.scale.keys", "--keys", count], check=True)


async def measure(count: int) -> None:
    with tempfile.TemporaryDirectory(prefix="tiermesh-bench-") as folder:
        database = Database(f"sqlite:///{Path(folder) / 'auth.db'}")
        await migrate(database, MIGRATIONS)
        secrets = await fill(database, count)
        gc.collect()
        cache, before = KeyCache(), rss_megabytes()
        follower = ChangeFollower(AuthStore(database), cache, interval=1.0, max_stale=30.0)
        began = time.process_time()
        with longest_collection() as collections:
            async with longest_pause() as pauses:
                await follower.load()
        report("loading", f"{time.process_time() - began:.1f} s of CPU")
        report("longest pause while loading", f"{max(pauses) * 1000:.0f} ms")
        report("longest garbage collection", f"{max(collections, default=0.0) * 1000:.0f} ms")
        gc.collect()
        report(f"memory of {len(cache):,} keys", f"{rss_megabytes() - before:.0f} MB")
        # As auth does once it has loaded.
        gc.freeze()
        with longest_collection() as collections:
            gc.collect()
        report("a full garbage collection", f"{max(collections) * 1000:.0f} ms")
        async with longest_pause() as pauses:
            await cache.prune(to_ms(system_clock()))
        report("longest pause while pruning", f"{max(pauses) * 1000:.0f} ms")
        verify(cache, secrets, "verifying a key for the first time")
        used = secrets[-1000:]
        verify(cache, used, "verifying a key that is in use")
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


@asynccontextmanager
async def longest_pause() -> AsyncIterator[list[float]]:
    """Collects how much later than asked for a task goes on that sleeps a millisecond at a time."""
    late: list[float] = []

    async def look() -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.001)
            late.append(time.perf_counter() - began - 0.001)

    task = asyncio.create_task(look())
    await asyncio.sleep(0.01)
    yield late
    await asyncio.sleep(0.01)
    task.cancel()


def verify(cache: KeyCache, secrets: list[str], what: str) -> None:
    now_ms = to_ms(system_clock())
    keys = iter(secrets)
    seconds = timeit.timeit(lambda: cache.verify(next(keys), now_ms), timer=time.process_time, number=len(secrets))
    report(what, f"{seconds / len(secrets) * 1e6:.1f} µs")


def rss_megabytes() -> float:
    return psutil.Process().memory_info().rss / 1e6


def report(what: str, figure: str) -> None:
    print(f"{what:<36} {figure}")


if __name__ == "__main__":
    main()
