"""What operators see of the ledger is what is in it."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import REGISTRY

from services.billing.ledger.holds import Outcome
from services.billing.observer import Observer
from services.billing.store.store import LedgerStore
from services.common.errors import Code, MeshError
from tests.integration.billing.operations_for_tests import PRICE, grant, reserve, settle
from tests.support.waiting import eventually


def gauge(name: str) -> float | None:
    return REGISTRY.get_sample_value(f"tiermesh_billing_{name}")


async def test_open_holds_are_measured(store: LedgerStore) -> None:
    observer = Observer(store, lambda: 10.0, hold_ttl=900.0)
    await observer.measure()
    assert (gauge("open_holds"), gauge("held_credits"), gauge("oldest_hold_seconds")) == (0, 0, 0)
    await store.commit([grant(100), reserve("old")], 1_000)
    await store.commit([reserve("new"), reserve("ended")], 3_000)
    await store.commit([settle("ended", Outcome.COMPLETED)], 4_000)
    await observer.measure()
    assert (gauge("open_holds"), gauge("held_credits"), gauge("oldest_hold_seconds")) == (2, 2 * PRICE, 9)
    assert gauge("hold_ttl_seconds") == 900


async def test_audits_say_when_they_were(store: LedgerStore) -> None:
    await store.commit([grant(100), reserve("one")], 1_000)
    await Observer(store, lambda: 77.0, hold_ttl=900.0).audit()
    assert (gauge("audit_violations"), gauge("ledger_imbalance_credits")) == (0, 0)
    assert gauge("audited_timestamp_seconds") == 77


async def test_a_database_that_is_away_only_delays_it(store: LedgerStore, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = 0
    working = store.open_holds

    async def failing() -> object:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise MeshError(Code.UNAVAILABLE, "away")
        return await working()

    monkeypatch.setattr(store, "open_holds", failing)
    await store.commit([grant(100), reserve("one")], 1_000)
    following = asyncio.create_task(Observer(store, lambda: 2.0, hold_ttl=900.0).follow_holds(0.01))
    await eventually(lambda: attempts > 1 and gauge("open_holds") == 1)
    following.cancel()
