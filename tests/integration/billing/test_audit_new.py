"""The audit of what is new proves each entry once, raises no false alarm, and forgets nothing that it found."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from services.billing.ledger.holds import Outcome
from services.billing.store.audit.audits import Audits
from services.billing.store.store import LedgerStore
from services.common.database.base import Database
from tests.integration.billing.guards_for_tests import drop_guards
from tests.integration.billing.operations_for_tests import (
    NOW_MS,
    commit,
    execute,
    expire,
    grant,
    reserve,
    rows,
    settle,
)
from tests.integration.billing.random_history import RandomHistory
from tests.integration.billing.replica import Replica

_ENTRY = "reference, kind, account_id, pocket, amount, at_ms"
_RUNBOOK = Path(__file__).parents[3] / "docs/operations/runbooks/TiermeshLedgerImbalance.md"
_REPEAT = f"INSERT INTO entries ({_ENTRY}) SELECT {_ENTRY} FROM entries"


def small_slices(database: Database) -> Audits:
    """Audits whose slices end in the middle of what belongs together."""
    return Audits(database, entries=7, account_entries=15, rest=0)


async def checkpoint(database: Database) -> tuple[object, ...]:
    ((entry_id, entries, total),) = await rows(database, "SELECT entry_id, entries, total FROM audit_checkpoint")
    return entry_id, entries, total


@pytest.mark.parametrize("seed", range(2))
async def test_whatever_happens_is_proven(store: LedgerStore, database: Database, seed: int) -> None:
    history = RandomHistory(store, seed)
    audits = small_slices(database)
    await history.begin()
    for _ in range(4):
        await history.go_on(6)
        report = await audits.audit_new()
        assert report.violations == []
        assert report.granted == report.revenue + report.available + report.held
        ((last, count),) = await rows(database, "SELECT max(entry_id), count(*) FROM entries")
        assert await checkpoint(database) == (last, count, 0)
    assert await audits.audit_all() == report
    await history.end()
    assert (await audits.audit_new()).violations == []
    # Nothing runs any more, so nothing is followed.
    assert await rows(database, "SELECT * FROM audit_moves") == []
    balances = "SELECT account_id, available, held FROM {} ORDER BY account_id"
    assert await rows(database, balances.format("audit_balances")) == await rows(database, balances.format("balances"))


async def test_what_is_proven_is_not_read_again(store: LedgerStore, database: Database) -> None:
    await commit(store, grant(100), reserve("a"), settle("a"))
    assert (await store.audit_new()).violations == []
    await drop_guards(database)
    await execute(database, "UPDATE entries SET amount = 2 * amount WHERE reference = 'a'")
    assert (await store.audit_new()).violations == []
    # The audit of the whole finds it, and from then on the others tell of it.
    assert any("the reserve of a moves 20" in violation for violation in (await store.audit()).violations)
    assert any("the reserve of a moves 20" in violation for violation in (await store.audit_new()).violations)
    await execute(database, "UPDATE entries SET amount = amount / 2 WHERE reference = 'a'")
    assert (await store.audit()).violations == []
    assert (await store.audit_new()).violations == []


@pytest.mark.parametrize(
    ("corruption", "finding"),
    [
        ("UPDATE entries SET amount = -9 WHERE reference = 'new' AND amount < 0", "all entries together sum to 2"),
        ("UPDATE entries SET amount = 2 * amount WHERE reference = 'new' AND kind = 'reserve'", "moves 20 of acct"),
        ("DELETE FROM entries WHERE reference = 'new' AND kind = 'capture'", "hold new is captured, but has 1 reserve"),
        ("DELETE FROM entries WHERE reference = 'new' AND kind = 'reserve'", "hold new is captured, but has 0 reserve"),
        ("DELETE FROM entries WHERE reference = 'old' AND kind = 'capture'", "hold old is captured, but has 1 reserve"),
        ("DELETE FROM entries WHERE reference = 'late' AND kind = 'capture'", "account acct has 60 available"),
        ("DELETE FROM entries WHERE reference = 'new' AND amount > 0", "the capture of new has 1 entries"),
        ("DELETE FROM holds WHERE request_id = 'new'", "the capture of new belongs to no hold"),
        ("DELETE FROM holds WHERE request_id = 'open'", "account acct has 10 held, but its open holds sum to 0"),
        ("UPDATE holds SET state = 'released' WHERE request_id = 'new'", "hold new is released, but has"),
        (
            "UPDATE holds SET state = 'captured', settled_ms = 1 WHERE request_id = 'open'",
            "hold open is captured, but has",
        ),
        ("UPDATE holds SET account_id = 'thief' WHERE request_id = 'new'", "but its hold is 10 of thief"),
        ("UPDATE balances SET available = available + 1", "account acct has 61 available"),
        ("UPDATE balances SET held = held + 5", "account acct has 15 held, but its open holds sum to 10"),
        ("DELETE FROM balances", "account acct has entries but no balance"),
        ("DELETE FROM grants WHERE grant_id = 'more'", "the grant of more belongs to no grant"),
        ("UPDATE grants SET credits = 11 WHERE grant_id = 'more'", "grant more and its entries disagree"),
        (
            f"{_REPEAT} WHERE reference = 'new'",
            "the capture of new has 4 entries",
        ),
        (
            f"{_REPEAT} WHERE reference = 'old' AND kind = 'capture'",
            "hold old is captured, but has 1 reserve, 2 capture",
        ),
        (
            f"{_REPEAT} WHERE reference = 'paid' AND kind = 'capture'",
            "hold paid is captured, but has 1 reserve, 2 capture",
        ),
    ],
)
@pytest.mark.parametrize("slices", [7, 1000])
async def test_corruption_of_what_is_new_is_found_and_not_forgotten(
    store: LedgerStore, database: Database, slices: int, corruption: str, finding: str
) -> None:
    audits = Audits(database, entries=slices, rest=0)
    await commit(store, grant(100), *(reserve(name) for name in ("open", "old", "late", "paid")))
    await commit(store, expire("late"), settle("paid"))
    assert (await audits.audit_new()).violations == []
    await commit(store, settle("old"), reserve("new"), settle("late"), grant(10, "acct", "more"))
    await commit(store, settle("new"))
    await drop_guards(database)
    await execute(database, corruption)
    for _ in range(2):
        violations = (await audits.audit_new()).violations
        assert any(finding in violation for violation in violations), violations


async def test_replicas_prove_together(store: LedgerStore, database: Database) -> None:
    url = database.url.render_as_string(hide_password=False)
    history = RandomHistory(store, 7)
    await history.begin()
    await history.go_on(40)
    replicas = [Replica(url, max_batch=5) for _ in range(1 if database.dialect == "sqlite" else 3)]
    working = asyncio.create_task(history.go_on(20))
    reports = await asyncio.gather(*(small_slices(replica.database).audit_new() for replica in replicas for _ in "ab"))
    await working
    assert [violation for report in reports for violation in report.violations] == []
    assert (await store.audit_new()).violations == []
    assert (await store.audit()).violations == []
    for replica in replicas:
        await replica.close()


async def test_a_refund_long_after_it_was_proven(store: LedgerStore, database: Database) -> None:
    await commit(store, grant(1000), reserve("r"), settle("r"))
    audits = small_slices(database)
    await audits.audit_new()
    for number in range(10):
        await store.commit([reserve(f"between {number}"), settle(f"between {number}")], NOW_MS + number * 10**7)
    await audits.audit_new()
    await store.commit([settle("r", Outcome.FAILED)], NOW_MS + 10**9)
    assert (await audits.audit_new()).violations == []
    assert await rows(database, "SELECT * FROM audit_moves") == []


async def test_what_is_found_during_an_audit_of_the_whole_outlives_it(store: LedgerStore, database: Database) -> None:
    mend = "UPDATE grants SET credits = 10"
    old, new = (f"grant {name} and its entries disagree" for name in ("old", "new"))
    await drop_guards(database)

    async def find_wrong(name: str) -> None:
        """Has an audit of what is new find a grant that nothing is wrong with afterwards."""
        await commit(store, grant(10, "acct", name))
        await execute(database, f"UPDATE grants SET credits = 11 WHERE grant_id = '{name}'")
        assert f"grant {name} and its entries disagree" in (await store.audit_new()).violations
        await execute(database, mend)

    await find_wrong("old")
    whole = Audits(database, rest=0)
    check_accounts = whole._check_accounts

    async def late(*arguments: Any) -> Any:
        """All movements of its beginning are read: what comes now is none of them."""
        whole._check_accounts = check_accounts  # type: ignore[method-assign] # The moment between two slices.
        await find_wrong("new")
        return await check_accounts(*arguments)

    whole._check_accounts = late  # type: ignore[method-assign, assignment] # As above.
    assert (await store.audit_new()).violations == [old]
    assert (await whole.audit_all()).violations == []
    assert (await store.audit_new()).violations == [new]
    # The next one has read this movement as well.
    assert (await whole.audit_all()).violations == []
    assert (await store.audit_new()).violations == []


async def test_the_runbook_has_a_repaired_ledger_proven_from_its_first_entry(
    store: LedgerStore, database: Database
) -> None:
    await commit(store, grant(100), reserve("a"), settle("a"), reserve("b"))
    await drop_guards(database)
    await execute(database, "UPDATE entries SET amount = 2 * amount WHERE reference = 'a'")
    assert (await store.audit_new()).violations
    await execute(database, "UPDATE entries SET amount = amount / 2 WHERE reference = 'a'")
    sound = await store.audit()
    assert sound.violations == []
    # What was proven of the wrong entries is still in the sums.
    assert (await store.audit_new()).violations
    for statement in re.findall("`((?:DELETE|UPDATE) [^`]+)`", _RUNBOOK.read_text(encoding="utf-8")):
        await execute(database, statement)
    assert await store.audit_new() == sound
