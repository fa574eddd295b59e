"""The sweeper releases what an edge that died has left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from services.billing.committer import Committer
from services.billing.ledger.ledger import Balance
from services.billing.metrics import SWEPT
from services.billing.store.store import LedgerStore
from services.billing.sweeper import Sweeper
from services.common.database.base import Database
from tests.integration.billing.operations_for_tests import assert_sound, grant, reserve, rows, settle
from tests.support.waiting import eventually

TTL = 900.0


class Times:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Times:
    return Times()


@pytest.fixture
async def committer(store: LedgerStore, clock: Times) -> AsyncIterator[Committer]:
    committer = Committer(store, clock)
    task = asyncio.create_task(committer.run())
    yield committer
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_only_old_open_holds_expire(
    store: LedgerStore, database: Database, committer: Committer, clock: Times
) -> None:
    sweeper = Sweeper(store, committer, clock, ttl=TTL)
    await committer.execute(grant(100), 10.0)
    for name in "forgotten", "settled":
        await committer.execute(reserve(name), 10.0)
    await committer.execute(settle("settled"), 10.0)
    clock.now += 60.0
    await committer.execute(reserve("younger"), 10.0)
    clock.now += TTL - 60.0
    assert await sweeper.sweep() == 0
    clock.now += 0.001
    assert await sweeper.sweep() == 1
    assert await sweeper.sweep() == 0
    assert await store.balance("acct") == Balance(80, 10)
    outcomes = await rows(database, "SELECT request_id, state, outcome FROM holds ORDER BY request_id")
    assert outcomes == [
        ("forgotten", "released", "expired"),
        ("settled", "captured", "completed"),
        ("younger", "open", "none"),
    ]
    await assert_sound(store)


async def test_more_than_one_batch_is_swept_in_one_go(store: LedgerStore, committer: Committer, clock: Times) -> None:
    await store.commit([grant(10_000), *(reserve(f"r{number}") for number in range(600))], 1_000)
    assert await Sweeper(store, committer, clock, ttl=TTL).sweep() == 600
    assert (await store.open_holds()).count == 0
    await assert_sound(store)


async def test_two_replicas_sweep_at_once(store: LedgerStore, committer: Committer, clock: Times) -> None:
    await store.commit([grant(1_000), *(reserve(f"r{number}") for number in range(50))], 1_000)
    sweepers = [Sweeper(store, committer, clock, ttl=TTL) for _ in range(2)]
    await asyncio.gather(*(sweeper.sweep() for sweeper in sweepers))
    assert await store.balance("acct") == Balance(1_000, 0)
    await assert_sound(store)


async def test_it_sweeps_again_and_again(store: LedgerStore, committer: Committer, clock: Times) -> None:
    sweeping = asyncio.create_task(Sweeper(store, committer, clock, ttl=TTL).run(0.01))
    await store.commit([grant(100), reserve("r")], 1_000)

    async def released() -> bool:
        return (await store.balance("acct")).held == 0

    await eventually(released)
    sweeping.cancel()
    await asyncio.gather(sweeping, return_exceptions=True)


@pytest.mark.parametrize("asleep", [True, False])
async def test_a_pause_of_the_process_makes_no_hold_older(
    store: LedgerStore, committer: Committer, clock: Times, monkeypatch: pytest.MonkeyPatch, asleep: bool
) -> None:
    await committer.execute(grant(100), 10.0)
    await committer.execute(reserve("streaming"), 10.0)
    sweeper = Sweeper(store, committer, clock, ttl=TTL)
    SWEPT.set(0)
    overdue, reads = store.overdue, 0

    async def read(before_ms: int, limit: int) -> list[str]:
        nonlocal reads
        reads += 1
        found = await overdue(before_ms, limit)
        if reads == 2 and not asleep:
            # While it reads the machine is suspended, and the edges with it.
            clock.now += 10 * TTL
        return found

    monkeypatch.setattr(store, "overdue", read)
    sweeping = asyncio.create_task(sweeper.run(0.2))
    await eventually(lambda: SWEPT._value.get() == clock.now)
    if asleep:
        clock.now += 10 * TTL
    await eventually(lambda: reads >= 4)
    sweeping.cancel()
    await asyncio.gather(sweeping, return_exceptions=True)
    assert (await store.open_holds()).count == 1
    clock.now += TTL - 1
    assert await sweeper.sweep() == 0
    clock.now += 1
    assert await sweeper.sweep() == 1
    await assert_sound(store)
