"""The audit finds planted corruption and names it; a sound ledger, however busy, passes."""

from __future__ import annotations

import asyncio

import pytest

from services.billing.store.audit.audits import Audits
from services.billing.store.store import LedgerStore
from services.common.database.base import Database
from tests.integration.billing.guards_for_tests import drop_guards
from tests.integration.billing.operations_for_tests import (
    assert_sound,
    commit,
    execute,
    expire,
    grant,
    reserve,
    settle,
)
from tests.support.waiting import eventually

_ENTRY = "reference, kind, account_id, pocket, amount, at_ms"
_HOLD = "'acct', 'key', 'pro', 1, 10, 10, 1"


@pytest.fixture
async def ledger(store: LedgerStore, database: Database) -> LedgerStore:
    """A sound ledger whose guards have been taken away, as by somebody with too many rights."""
    await commit(store, grant(100), *(reserve(name) for name in ("open", "captured", "expired", "late")))
    await commit(store, settle("captured"), expire("expired"), expire("late"))
    await commit(store, settle("late"))
    await assert_sound(store)
    await drop_guards(database)
    return store


@pytest.mark.parametrize(
    ("corruption", "finding"),
    [
        ("UPDATE entries SET amount = -90 WHERE reference = 'grant' AND amount < 0", "all entries together sum to 10"),
        ("DELETE FROM entries WHERE reference = 'captured' AND kind = 'capture'", "hold captured is captured, but has"),
        ("DELETE FROM entries WHERE reference = 'open' AND amount > 0", "the reserve of open has 1 entries"),
        ("UPDATE balances SET available = 99", "account acct has 99 available"),
        ("UPDATE balances SET available = -1", "account acct is negative: -1 available"),
        ("UPDATE balances SET held = held + 5", "account acct has 15 held, but its open holds sum to 10"),
        ("DELETE FROM balances", "account acct has entries but no balance"),
        ("UPDATE holds SET unit_price = 5, amount = 5 WHERE request_id = 'captured'", "but its hold is 5 of acct"),
        ("UPDATE holds SET account_id = 'thief' WHERE request_id = 'captured'", "but its hold is 10 of thief"),
        (
            "UPDATE holds SET state = 'captured', outcome = 'completed' WHERE request_id = 'expired'",
            "hold expired is captured, but has",
        ),
        ("UPDATE holds SET state = 'released' WHERE request_id = 'late'", "hold late is released, but has"),
        ("DELETE FROM holds WHERE request_id = 'captured'", "the capture of captured belongs to no hold"),
        (
            f"INSERT INTO holds VALUES ('ghost', {_HOLD}, 'released', 'failed', 0, 0, '', 1, NULL, NULL, NULL)",
            "hold ghost is released, but has 0 reserve",
        ),
        ("UPDATE daily_usage SET credits = credits + 1", "from its requests by 0 requests and 1 credits"),
        ("UPDATE daily_usage SET completion_tokens = 0", "from its requests by 0 requests and 0 credits, or by tokens"),
        ("DELETE FROM daily_usage", "from its requests by -3 requests and -20 credits"),
        ("UPDATE grants SET credits = 99", "grant grant and its entries disagree"),
        ("DELETE FROM grants", "the grant of grant belongs to no grant"),
        (
            f"INSERT INTO entries ({_ENTRY}) SELECT {_ENTRY} FROM entries WHERE reference = 'captured'",
            "the capture of captured has 4 entries",
        ),
        (
            "UPDATE entries SET account_id = 'system:revenue' WHERE reference = 'captured' AND kind = 'capture'",
            "the capture of captured is not of exactly one account",
        ),
    ],
)
async def test_corruption_is_named(ledger: LedgerStore, database: Database, corruption: str, finding: str) -> None:
    await execute(database, corruption)
    violations = (await ledger.audit()).violations
    assert any(finding in violation for violation in violations), violations
    # In slices that end in the middle of an account, other sentences may say it.
    assert (await Audits(database, entries=3, account_entries=4, rest=0).audit_all()).violations


async def test_the_audit_counts_what_it_has_seen(store: LedgerStore) -> None:
    await commit(store, grant(100), grant(1, "b", "g2"), reserve("r1"), reserve("r2"))
    await commit(store, settle("r1"))
    report = await store.audit()
    assert report.violations == []
    assert (report.entries, report.accounts, report.open_holds) == (10, 2, 1)
    assert report.granted == report.revenue + report.available + report.held > 0
    assert report.deposited == 0


async def test_an_empty_ledger_is_sound(store: LedgerStore) -> None:
    assert tuple(await store.audit()) == ([], *[0] * 9)


async def test_a_busy_ledger_raises_no_false_alarm(store: LedgerStore) -> None:
    await commit(store, grant(100_000))
    busy = True

    async def spend() -> None:
        number = 0
        while busy:
            number += 1
            await commit(store, reserve(f"r{number}"), settle(f"r{number - 1}"))

    spending = asyncio.create_task(spend())
    seen: set[int] = set()

    async def different() -> bool:
        report = await store.audit()
        seen.add(report.entries)
        assert report.violations == []
        # The figures are of one moment, however long the slices before took.
        assert report.granted == report.revenue + report.available + report.held
        return len(seen) >= 5

    await eventually(different)
    busy = False
    await spending
