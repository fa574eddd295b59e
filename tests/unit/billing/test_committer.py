"""Group commit: who shares a transaction, who gets which answer, and what failures do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from services.billing.committer import Committer
from services.billing.ledger.operations import Effect, Expire, Locked, Operation, Result
from services.common.database.transactions import row_locked
from services.common.errors import Code, MeshError
from tests.support.waiting import eventually


class Ledger:
    """Remembers its transactions; `gate` holds them up, `fail` makes one raise."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.fail: Callable[[list[str]], None] = lambda _: None
        # Requests whose account is locked.
        self.locked: set[str] = set()
        # Transactions that waited for a locked account, in vain.
        self.waits = 0

    async def commit(self, operations: list[Operation], now_ms: int) -> list[Result]:
        effects = await self._commit(operations, now_ms)
        if self.locked.intersection(self.batches[-1]):
            self.waits += 1
            raise row_locked()
        return effects

    async def commit_unlocked(self, operations: list[Operation], now_ms: int) -> list[Result | Locked]:
        effects = await self._commit(operations, now_ms)
        return [
            Locked("account") if name in self.locked else effect
            for name, effect in zip(self.batches[-1], effects, strict=True)
        ]

    async def _commit(self, operations: list[Operation], now_ms: int) -> list[Result]:
        assert now_ms == 5_000
        names = [operation.request_id for operation in operations if isinstance(operation, Expire)]
        self.batches.append(names)
        await self.gate.wait()
        self.fail(names)
        return [Effect(len(name), 0, 0) for name in names]


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
async def committer(ledger: Ledger) -> AsyncIterator[Committer]:
    committer = Committer(ledger, lambda: 5.0, max_waiting=6, max_batch=4)
    task = asyncio.create_task(committer.run())
    yield committer
    assert not task.done(), "the committer has died"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def start(committer: Committer, name: str, timeout: float = 10.0) -> asyncio.Task[Effect]:
    return asyncio.create_task(committer.execute(Expire(name), timeout))


async def block(ledger: Ledger, committer: Committer) -> asyncio.Task[Effect]:
    """Starts a transaction that waits for the gate."""
    ledger.gate.clear()
    first = start(committer, "first")
    await eventually(lambda: ledger.batches == [["first"]])
    return first


async def test_an_idle_ledger_commits_at_once(ledger: Ledger, committer: Committer) -> None:
    assert await start(committer, "abc") == Effect(3, 0, 0)
    assert await start(committer, "de") == Effect(2, 0, 0)
    assert ledger.batches == [["abc"], ["de"]]


async def test_what_waits_shares_the_next_transaction(ledger: Ledger, committer: Committer) -> None:
    first = await block(ledger, committer)
    waiting = [start(committer, name) for name in "abcdef"]
    await asyncio.sleep(0)
    assert not first.done()
    ledger.gate.set()
    await asyncio.gather(first, *waiting)
    assert ledger.batches == [["first"], list("abcd"), list("ef")]


async def test_what_is_withdrawn_before_a_transaction_takes_it_is_not_done(
    ledger: Ledger, committer: Committer
) -> None:
    first = await block(ledger, committer)
    answered: list[Result] = []
    committer.submit(Expire("taken back"), 10.0, answered.append, ("stream", 1))
    committer.submit(Expire("kept"), 10.0, answered.append, ("stream", 2))
    committer.withdraw(("stream", 1))
    committer.withdraw(("stream", 1))
    committer.withdraw(("another stream", 2))
    ledger.gate.set()
    await first
    await eventually(lambda: ledger.batches == [["first"], ["kept"]])
    committer.withdraw(("stream", 2))
    await committer.drain(10.0)
    assert answered == [Effect(4, 0, 0)]


async def test_too_many_are_refused_at_once(ledger: Ledger, committer: Committer) -> None:
    first = await block(ledger, committer)
    waiting = [start(committer, name) for name in "abcdef"]
    with pytest.raises(MeshError) as refused:
        await start(committer, "g")
    assert (refused.value.code, refused.value.retry_after) == (Code.UNAVAILABLE, 1.0)
    ledger.gate.set()
    await asyncio.gather(first, *waiting)


async def test_what_nobody_waits_for_any_more_is_not_done(ledger: Ledger, committer: Committer) -> None:
    first = await block(ledger, committer)
    late, patient = start(committer, "late", 0.0), start(committer, "patient")
    await asyncio.sleep(0)
    ledger.gate.set()
    with pytest.raises(MeshError, match="Nothing was charged") as refused:
        await late
    assert refused.value.code is Code.DEADLINE_EXCEEDED
    await asyncio.gather(first, patient)
    assert ledger.batches == [["first"], ["patient"]]


async def test_a_failed_transaction_fails_its_calls_and_no_others(ledger: Ledger, committer: Committer) -> None:
    error = MeshError(Code.UNAVAILABLE, "the database is away", retry_after=1.0)

    def fail(_: list[str]) -> None:
        ledger.fail = lambda _: None
        raise error

    first = await block(ledger, committer)
    ledger.fail = fail
    waiting = [start(committer, name) for name in "abcde"]
    await asyncio.sleep(0)
    ledger.gate.set()
    with pytest.raises(MeshError):
        await first
    assert [await each for each in waiting] == [Effect(1, 0, 0)] * 5


async def test_a_call_that_breaks_the_transaction_does_not_harm_its_neighbours(
    ledger: Ledger, committer: Committer
) -> None:
    def fail(names: list[str]) -> None:
        if "b" in names:
            raise ValueError(names)

    first = await block(ledger, committer)
    waiting = {name: start(committer, name) for name in "abc"}
    await asyncio.sleep(0)
    ledger.fail = fail
    ledger.gate.set()
    assert await first == Effect(5, 0, 0)
    assert await waiting["a"] == await waiting["c"] == Effect(1, 0, 0)
    with pytest.raises(MeshError) as refused:
        await waiting["b"]
    assert refused.value.code is Code.INTERNAL
    assert ledger.batches == [["first"], ["a", "b", "c"], ["a"], ["b"], ["c"]]


async def test_a_caller_that_left_or_raises_does_not_stop_the_others(ledger: Ledger, committer: Committer) -> None:
    first = await block(ledger, committer)
    leaving, staying = start(committer, "leaving"), start(committer, "staying")
    await asyncio.sleep(0)
    leaving.cancel()

    def raises(_: Result) -> None:
        raise RuntimeError("a mistake in a callback")

    committer.submit(Expire("x"), 10.0, raises)
    ledger.gate.set()
    await asyncio.gather(first, staying)


async def test_draining_waits_for_what_waits(ledger: Ledger, committer: Committer) -> None:
    await committer.drain(0.0)
    first = await block(ledger, committer)
    await committer.drain(0.0)
    assert not first.done()
    draining = asyncio.create_task(committer.drain(10.0))
    ledger.gate.set()
    await draining
    assert ledger.batches == [["first"]]
    assert (await first).amount == 5


async def test_a_locked_account_waits_aside_and_delays_nobody(ledger: Ledger, committer: Committer) -> None:
    ledger.locked = {"x", "y"}
    held = [start(committer, "x"), start(committer, "y")]
    await eventually(lambda: len(ledger.batches) >= 4)
    for name in "abc":
        assert (await start(committer, name)).amount == 1
    assert not any(task.done() for task in held)
    # It takes one such wait to know that something is locked.
    assert ledger.waits == 1
    ledger.locked = {"y"}
    assert (await held[0]).amount == 1
    assert not held[1].done()
    draining = asyncio.create_task(committer.drain(10.0))
    ledger.locked = set()
    assert (await held[1]).amount == 1
    await draining
    assert ledger.waits == 1


async def test_what_waits_for_a_locked_account_ends_at_its_deadline_or_is_withdrawn(
    ledger: Ledger, committer: Committer
) -> None:
    ledger.locked = {"late", "gone", "first"}
    answers: list[Result] = []
    committer.submit(Expire("first"), 60.0, answers.append)
    committer.submit(Expire("gone"), 60.0, answers.append, "ticket")
    with pytest.raises(MeshError) as refused:
        await start(committer, "late", 0.2)
    assert refused.value.code is Code.DEADLINE_EXCEEDED
    committer.withdraw("ticket")
    ledger.locked = set()
    await eventually(lambda: len(answers) == 1)
    await committer.drain(10.0)
    assert ledger.batches[-1] == ["first"]
