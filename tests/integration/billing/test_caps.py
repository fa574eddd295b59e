"""Monthly caps of API keys on both databases: what is captured and held counts, what was given back does not."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from services.billing.ledger.holds import Outcome
from services.billing.ledger.operations import Effect, Operation, Reserve
from services.billing.store.store import LedgerStore
from services.common.database.base import Database
from services.common.errors import Code, MeshError
from tests.integration.billing.operations_for_tests import (
    PRICE,
    assert_sound,
    code,
    commit,
    expire,
    grant,
    one,
    reserve,
    rows,
    settle,
)
from tests.integration.billing.replica import Replica

CAP = 3 * PRICE


def capped(request_id: str, key_id: str = "capped", cap: int = CAP) -> Reserve:
    return reserve(request_id)._replace(key_id=key_id, key_monthly_cap=cap)


def milliseconds(*when: int) -> int:
    return int(datetime(*when, tzinfo=UTC).timestamp() * 1000)  # type: ignore[arg-type,misc]  # mypy takes *when for the time zone, too.


@pytest.fixture
async def ledger(store: LedgerStore) -> LedgerStore:
    await commit(store, grant(1000))
    return store


async def test_the_refusal_names_the_cap_and_its_reset(ledger: LedgerStore) -> None:
    operations: list[Operation] = [capped("a"), settle("a"), capped("b"), capped("c")]
    assert all(isinstance(answer, Effect) for answer in await commit(ledger, *operations))
    (answer,) = await commit(ledger, capped("d"))
    assert isinstance(answer, MeshError)
    assert answer.code is Code.INSUFFICIENT_CREDITS
    # The tests' now is 2027-01-15.
    for part in "at most 30 credits", "costs 10", "30 are spent or held", "2027-02-01":
        assert part in answer.message
    # Neither other keys of the account nor the same key without a cap are hindered.
    for other in capped("e", "other"), reserve("f"):
        await one(ledger, other)
    await assert_sound(ledger)


@pytest.mark.parametrize("end", [settle("a", Outcome.FAILED), settle("a", Outcome.EMPTY), expire("a")])
@pytest.mark.parametrize("together", [True, False], ids=["one batch", "two batches"])
async def test_what_was_free_does_not_count(ledger: LedgerStore, end: Operation, together: bool) -> None:
    operations: list[Operation] = [*(capped(name) for name in "abc"), end, capped("d"), capped("e")]
    batches = [operations] if together else [[operation] for operation in operations]
    answers = [answer for batch in batches for answer in await commit(ledger, *batch)]
    assert all(isinstance(answer, Effect) for answer in answers[:-1])
    assert code(answers[-1]) is Code.INSUFFICIENT_CREDITS
    await assert_sound(ledger)


async def test_a_refund_and_a_late_capture_are_counted(ledger: LedgerStore, database: Database) -> None:
    await commit(ledger, capped("a"), settle("a"))
    await commit(ledger, settle("a", Outcome.FAILED))
    assert await rows(database, "SELECT spent FROM key_months") == [(0,)]
    await commit(ledger, capped("b"), expire("b"))
    await commit(ledger, settle("b"))
    assert await rows(database, "SELECT spent FROM key_months") == [(10,)]
    await assert_sound(ledger)


async def test_a_repeated_call_counts_once(ledger: LedgerStore, database: Database) -> None:
    for _ in range(3):
        await one(ledger, capped("a"))
    assert await rows(database, "SELECT key_id, spent FROM key_months") == [("capped", PRICE)]


async def test_each_month_begins_anew_and_a_request_counts_where_it_began(
    ledger: LedgerStore, database: Database
) -> None:
    december, january = milliseconds(2026, 12, 31, 23, 59, 59), milliseconds(2027, 1, 1)
    await ledger.commit([capped(name) for name in "abc"], december)
    await ledger.commit([settle("a", Outcome.FAILED), *(capped(name) for name in "def")], january)
    (refused,) = await ledger.commit([capped("g")], january)
    assert code(refused) is Code.INSUFFICIENT_CREDITS
    months = await rows(database, "SELECT begins_ms, ends_ms, spent FROM key_months ORDER BY begins_ms")
    february = milliseconds(2027, 2, 1)
    assert months == [(milliseconds(2026, 12, 1), january, 20), (january, february, 30)]
    await assert_sound(ledger)


async def test_without_a_cap_nothing_is_counted(ledger: LedgerStore, database: Database) -> None:
    await commit(ledger, reserve("a"), settle("a"), reserve("b"), settle("b", Outcome.FAILED))
    assert await rows(database, "SELECT * FROM key_months") == []


async def test_a_wrong_sum_is_found_by_the_audit(ledger: LedgerStore, database: Database) -> None:
    await commit(ledger, capped("a"))
    await database.transaction(
        lambda connection: connection.exec_driver_sql("UPDATE key_months SET spent = 20").close()
    )
    (violation,) = (await ledger.audit()).violations
    assert violation.startswith("key capped has spent 20 in the month from ")
    assert violation.endswith("but its holds sum to 10")


async def test_a_cap_for_k_serves_exactly_k(replicas: list[Replica]) -> None:
    await commit(replicas[0].store, grant(10_000))
    cap = 20 * PRICE + 7
    doing = [replicas[i % len(replicas)].do(capped(f"r{i}", cap=cap)) for i in range(100)]
    answers = await asyncio.gather(*doing)
    assert sum(isinstance(answer, Effect) for answer in answers) == 20
    assert {answer.code for answer in answers if isinstance(answer, MeshError)} == {Code.INSUFFICIENT_CREDITS}
    assert (await replicas[0].store.audit()).open_holds == 20
    await assert_sound(replicas[0].store)
