"""Watchers that are killed between any two writes and at any moment: each deposit is credited once, and none is lost.

The same checks run against planted mistakes, which they must find.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from services.billing.ledger.deposits import Cursor
from services.billing.store.deposit_history import DepositStore
from services.billing.store.store import LedgerStore
from services.common.database.base import Database
from tests.integration.billing.deposits_for_tests import ACCOUNTS, CHAIN, TOKEN, add_addresses, expected
from tests.integration.billing.operations_for_tests import execute, rows
from tests.support.waiting import eventually

# Blocks that a test of failpoints reads, and that are added for each random kill.
_FEW, _MORE = 6, 4
_KILLS = 30


class Forks:
    """The process that forks watchers."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.billing.deposit_watcher"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, **asked: Any) -> int:
        """Returns its answer to one line."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    forks = Forks()
    yield forks
    forks.close()


class Watchers:
    """Watchers of one ledger."""

    def __init__(self, forks: Forks, database: Database, url: str, directory: Path, mistake: str = "") -> None:
        self._forks = forks
        self._database = database
        self._head_file = directory / "head"
        self._common = {"url": url, "head_file": str(self._head_file), "mistake": mistake}
        self.head = 0
        self.grow(_FEW)

    def grow(self, count: int) -> None:
        """Adds blocks to the chain."""
        self.head += count
        part = self._head_file.with_suffix(".part")
        part.write_text(str(self.head))
        part.replace(self._head_file)

    def start(self, failpoint: int | None = None, *, follow: bool = False) -> int:
        """Starts a process that reads under the first cursor, and returns its id."""
        return self._forks.ask(**self._common, cursors=["first"], failpoint=failpoint, follow=follow)

    async def read_again(self) -> None:
        """Has every block read once more, under another cursor, up to the head."""
        pid = self._forks.ask(**self._common, cursors=["second"], failpoint=None, follow=False)
        assert await self.wait(pid) == 0

    async def wait(self, pid: int) -> int:
        """Returns how a process has ended: 0, or minus the signal."""
        status = await asyncio.to_thread(self._forks.ask, wait=pid)
        return os.waitstatus_to_exitcode(status)

    async def kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        assert await self.wait(pid) == -signal.SIGKILL

    async def have_passed(self, block: int) -> bool:
        """Whether the first cursor has passed a block."""
        place = await DepositStore(self._database).place(Cursor(CHAIN, TOKEN, "first"))
        return place is not None and place.next_block > block

    async def check(self) -> None:
        """Compares the books with the chain: every deposit once, to the smallest unit."""
        store = LedgerStore(self._database)
        found = {name: (0, (await store.balance(name)).available) for name in ACCOUNTS}
        for account, total in await rows(self._database, "SELECT account_id, atomic FROM deposit_totals"):
            found[str(account)] = (int(str(total)), found[str(account)][1])
        assert found == expected(self.head)
        assert (await store.audit()).violations == []


@pytest.fixture
async def watchers(forks: Forks, database: Database, database_url: str, tmp_path: Path) -> Watchers:
    await add_addresses(database)
    return Watchers(forks, database, database_url, tmp_path)


async def die_between_any_two_writes(watchers: Watchers) -> int:
    """Lets a process die at each failpoint, one after the other; returns how many there are."""
    for failpoint in itertools.count():
        ended = await watchers.wait(watchers.start(failpoint))
        if ended == 0:
            return failpoint
        assert ended == -signal.SIGKILL
        # The next one finds new blocks to die at, whatever this one has done.
        watchers.grow(_FEW)
    raise AssertionError


@asynccontextmanager
async def killed_at_random(watchers: Watchers, kills: int) -> AsyncIterator[None]:
    """Kills one of two processes again and again, while the chain grows, and lets both read the rest."""
    chance = random.Random(7)
    running = [watchers.start(follow=True), watchers.start(follow=True)]
    try:
        for _ in range(kills):
            watchers.grow(_MORE)
            await eventually(partial(watchers.have_passed, watchers.head - chance.randrange(2 * _MORE)), 60)
            victim = chance.randrange(2)
            await watchers.kill(running[victim])
            running[victim] = watchers.start(follow=True)
        await eventually(partial(watchers.have_passed, watchers.head), 60)
        yield
    finally:
        for pid in running:
            await watchers.kill(pid)


async def test_a_watcher_that_dies_between_any_two_writes_loses_and_doubles_nothing(watchers: Watchers) -> None:
    points = await die_between_any_two_writes(watchers)
    # Reads, writes, the commit and what follows it.
    assert points >= 10
    assert await watchers.have_passed(watchers.head)
    await watchers.check()


async def test_watchers_that_are_killed_at_any_moment_lose_and_double_nothing(watchers: Watchers) -> None:
    async with killed_at_random(watchers, _KILLS):
        await watchers.check()
    await watchers.read_again()
    await watchers.check()


async def test_a_cursor_that_moves_apart_from_its_deposits_is_caught(
    forks: Forks, sqlite_database_url: str, tmp_path: Path
) -> None:
    database = Database(sqlite_database_url)
    await add_addresses(database)
    watchers = Watchers(forks, database, sqlite_database_url, tmp_path, "write_twice")
    await die_between_any_two_writes(watchers)
    assert await watchers.have_passed(watchers.head)
    with pytest.raises(AssertionError):
        await watchers.check()
    await database.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_deposits_without_a_unique_key_are_caught(
    request: pytest.FixtureRequest, forks: Forks, tmp_path: Path, kind: str
) -> None:
    url: str = request.getfixturevalue(f"{kind}_database_url")
    database = Database(url)
    await add_addresses(database)
    if kind == "sqlite":
        await execute(database, "CREATE TABLE copies AS SELECT * FROM deposits")
        await execute(database, "DROP TABLE deposits")
        await execute(database, "ALTER TABLE copies RENAME TO deposits")
    else:
        await execute(database, "ALTER TABLE deposits DROP CONSTRAINT deposits_chain_id_tx_hash_log_index_key")
    watchers = Watchers(forks, database, url, tmp_path, "forget_deposits")
    async with killed_at_random(watchers, 2):
        pass
    await watchers.read_again()
    with pytest.raises(AssertionError):
        await watchers.check()
    await database.close()
