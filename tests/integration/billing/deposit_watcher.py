"""Processes that read the chain of `deposits_for_tests` into a ledger, to be killed at any moment.

`python -m tests.integration.billing.deposit_watcher` imports what they need and forks them. One line of JSON on
standard input starts a watcher or waits for the end of one. One line on standard output answers with its process id, or
with its exit status as `os.waitpid` has it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from services.billing.ledger.deposits import Cursor, Place, RecordDeposits
from services.billing.ledger.operations import Effect, Operation
from services.billing.store import deposits as store_deposits
from services.billing.store import postgresql as store_postgresql
from services.billing.store import sqlite as store_sqlite
from services.billing.store.deposit_history import DepositStore
from services.billing.store.store import LedgerStore
from services.common.errors import MeshError
from services.common.retry.pause import pause
from tests.integration.billing.deposits_for_tests import CHAIN, TOKEN, blocks, hash_of, told
from tests.integration.billing.replica import Replica

# How many blocks a range has at most, and how long a watcher waits for more, in seconds.
_SPAN = 3
_WAIT_SECONDS = 0.005
_STATEMENTS = "fetch_sqlite", "execute_many_sqlite", "fetch_postgresql", "copy_postgresql"

_apply = LedgerStore._apply
_transact = LedgerStore._transact
_read = store_deposits._read


async def watch(url: str, cursors: Sequence[str], head_file: Path, *, follow: bool) -> None:
    """Reads every block up to the head, which a file says, under each cursor; then ends, or waits for more."""
    replica = Replica(url, max_batch=5)
    reading = [_read_chain(replica, Cursor(CHAIN, TOKEN, name), head_file, follow=follow) for name in cursors]
    await asyncio.gather(*reading)
    await replica.close()


async def _read_chain(replica: Replica, cursor: Cursor, head_file: Path, *, follow: bool) -> None:
    chains = DepositStore(replica.database)
    while True:
        head = int(await asyncio.to_thread(head_file.read_text))
        try:
            place = await chains.place(cursor) or Place(1, hash_of(0))
        except MeshError:
            await pause(_WAIT_SECONDS)
            continue
        first, last = place.next_block, min(place.next_block + _SPAN - 1, head)
        if last >= first:
            found = [each for block in range(first, last + 1) for each in told(block)]
            await replica.do(blocks(first, last, *found, cursor=cursor))
        elif follow:
            await pause(_WAIT_SECONDS)
        else:
            return


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_at(failpoint: int) -> None:
    """Has this process die before the statement of a transaction with this number, from 0 on.

    If a transaction has no such statement, it dies before its commit with the next number, and after its commit, before
    anybody hears of it, with the number after that.
    """
    passed = 0

    def point() -> None:
        nonlocal passed
        if passed == failpoint:
            _die()
        passed += 1

    def counted(statement: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            point()
            return statement(*arguments)

        return run

    def apply(store: LedgerStore, *arguments: Any, **options: Any) -> Any:
        nonlocal passed
        passed = 0
        answers = _apply(store, *arguments, **options)
        point()
        return answers

    async def transact(store: LedgerStore, *arguments: Any, **options: Any) -> Any:
        answers = await _transact(store, *arguments, **options)
        point()
        return answers

    for module in (store_deposits, store_sqlite, store_postgresql):
        for name in _STATEMENTS:
            if hasattr(module, name):
                setattr(module, name, counted(getattr(module, name)))
    LedgerStore._apply = apply  # type: ignore[method-assign, assignment] # A failpoint is planted.
    LedgerStore._transact = transact  # type: ignore[method-assign, assignment]


def write_twice() -> None:
    """Plants a mistake: the cursor moves in a transaction of its own, before that of the deposits."""
    commit = LedgerStore.commit

    async def commit_twice(store: LedgerStore, operations: Sequence[Operation], now_ms: int) -> list[Any]:
        answers: list[Any] = []
        for operation in operations:
            assert isinstance(operation, RecordDeposits)
            (answer,) = await commit(store, [operation._replace(deposits=())], now_ms)
            if isinstance(answer, Effect):
                apart = operation.cursor._replace(watcher=f"{operation.cursor.watcher}-{operation.from_block}")
                (answer,) = await commit(store, [operation._replace(cursor=apart)], now_ms)
            answers.append(answer)
        return answers

    LedgerStore.commit = commit_twice  # type: ignore[method-assign, assignment] # A mistake is planted.


def forget_deposits() -> None:
    """Plants a mistake: nobody looks whether a deposit is recorded; the test takes the unique key away as well."""

    def read(connection: sa.Connection, name: str, rows: Any, **options: Any) -> list[Any]:
        return [] if name == "known" else _read(connection, name, rows, **options)

    store_deposits._read = read


_MISTAKES = {"": lambda: None, "write_twice": write_twice, "forget_deposits": forget_deposits}


def start(asked: dict[str, Any]) -> int:
    """Forks a watcher and returns its process id."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        _MISTAKES[asked["mistake"]]()
        if asked["failpoint"] is not None:
            die_at(asked["failpoint"])
        asyncio.run(watch(asked["url"], asked["cursors"], Path(asked["head_file"]), follow=asked["follow"]))
        status = 0
    finally:
        os._exit(status)


def main() -> None:
    """Does what the lines of standard input say, until it ends."""
    for line in sys.stdin:
        asked = json.loads(line)
        answer = os.waitpid(asked["wait"], 0)[1] if "wait" in asked else start(asked)
        print(answer, flush=True)  # noqa: T201 - it is the protocol


if __name__ == "__main__":
    main()
