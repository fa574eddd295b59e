"""Group commit: everything that waits when a transaction starts is committed by it, from all streams together.

A commit costs a disk write whatever it carries. While one is under way the next batch gathers, so that an idle service
commits each call at once and a busy one commits many for the price of one, without a timer.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from services.billing.ledger import refusals
from services.billing.ledger.operations import Effect, Locked, Operation, Result
from services.billing.metrics import COMMIT_FAILURES, COMMIT_SECONDS, COMMIT_SIZE, WAITING
from services.common.clock import Clock, to_ms
from services.common.database.transactions import RowLockedError
from services.common.errors import Code, MeshError
from services.common.telemetry.logs import get_logger

log = get_logger()

Done = Callable[[Result], None]


# How long operations on a locked account wait before they are tried again, in seconds.
_LOCKED_PAUSE = 0.05


class Store(Protocol):
    """Does operations in one transaction, as `LedgerStore` does."""

    async def commit(self, operations: list[Operation], now_ms: int) -> list[Result]:
        """Returns what became of each operation.

        Raises MeshError UNAVAILABLE if the transaction failed, which is a RowLockedError if an account stays locked.
        """

    async def commit_unlocked(self, operations: list[Operation], now_ms: int) -> list[Result | Locked]:
        """Does the same, but leaves out what is of locked accounts."""


@dataclass(slots=True)
class _Waiting:
    operation: Operation
    done: Done
    # In the event loop's time.
    deadline: float
    # What it can be withdrawn by; None for what is done whatever happens.
    ticket: object
    withdrawn: bool = False


class Committer:
    """`run` it in a task. `done` is called from the event loop once what it reports is durable.

    An account that another process has locked holds up its own operations only: they wait aside, and are tried now and
    then. Their order may change; each operation does the right thing in any order.
    """

    def __init__(self, store: Store, clock: Clock, *, max_waiting: int = 10_000, max_batch: int = 256) -> None:
        self._store = store
        self._clock = clock
        self._max_waiting = max_waiting
        self._max_batch = max_batch
        self._waiting: deque[_Waiting] = deque()
        # Operations on accounts that another process has locked, and when they are tried again, in the loop's time.
        self._locked: deque[_Waiting] = deque()
        self._locked_until = 0.0
        # Whether transactions leave locked accounts out; one that waits for them costs everybody that time.
        self._skips_locked = False
        self._by_ticket: dict[object, _Waiting] = {}
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        WAITING.set_function(lambda: len(self._waiting) + len(self._locked))

    def submit(self, operation: Operation, timeout: float, done: Done, ticket: object = None) -> None:
        """Adds an operation to the next transaction; `withdraw` takes it back by its ticket.

        One that no transaction has taken after `timeout` seconds is answered with DEADLINE_EXCEEDED and not done.
        Raises MeshError UNAVAILABLE when too many wait.
        """
        if len(self._waiting) + len(self._locked) >= self._max_waiting:
            raise refusals.too_busy()
        deadline = asyncio.get_running_loop().time() + timeout
        one = _Waiting(operation, done, deadline, ticket)
        self._waiting.append(one)
        if ticket is not None:
            self._by_ticket[ticket] = one
        self._idle.clear()
        self._wake.set()

    def withdraw(self, ticket: object) -> None:
        """Takes back an operation that no transaction has taken yet: it is not done, and not answered."""
        one = self._by_ticket.pop(ticket, None)
        if one is not None:
            one.withdrawn = True

    async def execute(self, operation: Operation, timeout: float) -> Effect:
        """Does one operation and waits for it; raises MeshError."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self.submit(operation, timeout, partial(_resolve, future))
        answer = await future
        if isinstance(answer, MeshError):
            raise answer
        return answer

    async def run(self) -> None:
        """Commits batch after batch until cancelled; no failure ends it."""
        while True:
            await self._until_work()
            self._skips_locked = bool(self._locked)
            if batch := self._take(self._waiting) + self._take_locked():
                await self._commit_batch(batch)
            if not self._waiting:
                self._wake.clear()
                if not self._locked:
                    self._idle.set()

    async def drain(self, seconds: float) -> None:
        """Waits until nothing waits, at most `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            log.warning("drain_incomplete", waiting=len(self._waiting))

    async def _until_work(self) -> None:
        """Waits until something waits, or those of locked accounts are to be tried again."""
        try:
            async with asyncio.timeout_at(self._locked_until if self._locked else None):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _take_locked(self) -> list[_Waiting]:
        now = asyncio.get_running_loop().time()
        if not self._locked or now < self._locked_until:
            return []
        self._locked_until = now + _LOCKED_PAUSE
        return self._take(self._locked)

    def _take(self, waiting: deque[_Waiting]) -> list[_Waiting]:
        now = asyncio.get_running_loop().time()
        batch: list[_Waiting] = []
        while waiting and len(batch) < self._max_batch:
            one = waiting.popleft()
            if one.withdrawn:
                continue
            self._by_ticket.pop(one.ticket, None)
            if one.deadline > now:
                batch.append(one)
            else:
                _answer(one, refusals.deadline_exceeded())
        return batch

    async def _commit_batch(self, batch: list[_Waiting]) -> None:
        answers: Sequence[Result | Locked]
        try:
            answers = await self._attempt(batch)
        except MeshError as error:
            answers = [error] * len(batch)
        except Exception:
            log.exception("commit_failed", operations=len(batch))
            if len(batch) > 1:
                # One of them is at fault; alone, it cannot harm the others.
                for one in batch:
                    await self._commit_batch([one])
                return
            answers = [MeshError(Code.INTERNAL, "The ledger could not do this. Billing's log has the details.")]
        for one, answer in zip(batch, answers, strict=True):
            if isinstance(answer, Locked):
                self._set_aside(one)
            else:
                _answer(one, answer)

    def _set_aside(self, one: _Waiting) -> None:
        """Keeps an operation that was not done, until its account is free; it can be withdrawn meanwhile."""
        self._locked.append(one)
        if one.ticket is not None:
            self._by_ticket[one.ticket] = one

    async def _attempt(self, batch: list[_Waiting]) -> Sequence[Result | Locked]:
        started = time.perf_counter()
        try:
            answers = await self._commit([one.operation for one in batch], to_ms(self._clock()))
        except BaseException:
            COMMIT_FAILURES.inc()
            raise
        COMMIT_SECONDS.observe(time.perf_counter() - started)
        COMMIT_SIZE.observe(len(batch))
        return answers

    async def _commit(self, operations: list[Operation], now_ms: int) -> Sequence[Result | Locked]:
        if not self._skips_locked:
            try:
                return await self._store.commit(operations, now_ms)
            except RowLockedError:
                # Which of the accounts it is, the next transaction tells.
                self._skips_locked = True
                self._locked_until = asyncio.get_running_loop().time() + _LOCKED_PAUSE
        return await self._store.commit_unlocked(operations, now_ms)


def _answer(one: _Waiting, answer: Result) -> None:
    try:
        one.done(answer)
    except Exception:
        log.exception("answer_failed")


def _resolve(future: asyncio.Future[Result], answer: Result) -> None:
    if not future.done():
        future.set_result(answer)
