"""What operators see of the ledger is what is in it."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import REGISTRY

from services.billing.ledger.holds import Outcome
from services.billing.observer import Observer
from services.billing.store.store import LedgerStore
from services.common.database.base import Database
from services.common.errors import Code, MeshError
from tests.integration.billing.guards_for_tests import drop_guards
from tests.integration.billing.operations_for_tests import PRICE, execute, grant, reserve, settle
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
    await Observer(store, lambda: 77.0, hold_ttl=900.0).audit_new()
    assert (gauge("audit_violations"), gauge("ledger_imbalance_credits")) == (0, 0)
    assert gauge("audited_timestamp_seconds") == 77
    await Observer(store, lambda: 78.0, hold_ttl=900.0).audit_all()
    assert (gauge("audited_timestamp_seconds"), gauge("fully_audited_timestamp_seconds")) == (78, 78)


async def test_an_imbalance_is_told_until_it_is_gone(store: LedgerStore, database: Database) -> None:
    await store.commit([grant(100), reserve("one")], 1_000)
    observer = Observer(store, lambda: 77.0, hold_ttl=900.0)
    await observer.audit_new()
    await drop_guards(database)
    await execute(database, "UPDATE entries SET amount = 15 WHERE reference = 'one' AND amount > 0")
    await observer.audit_all()
    for _ in range(2):
        assert gauge("ledger_imbalance_credits") == 5
        assert (gauge("audit_violations") or 0) > 0
        # This one reads no entry that is proven.
        await observer.audit_new()
    await execute(database, "UPDATE entries SET amount = 10 WHERE reference = 'one' AND amount > 0")
    await observer.audit_all()
    await observer.audit_new()
    assert (gauge("audit_violations"), gauge("ledger_imbalance_credits")) == (0, 0)


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
