"""Monthly caps of API keys on both databases: what is captured and held counts, what was given back does not."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from services.billing.ledger.holds import Outcome
from services.billing.ledger.operations import Effect, MonthlyCap, Operation, Reserve
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
    return reserve(request_id)._replace(key_id=key_id, caps=(MonthlyCap(key_id, cap),))


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


def family(request_id: str, key_id: str, *caps: tuple[str, int]) -> Reserve:
    """A request of a key that caps of other keys bind."""
    return reserve(request_id)._replace(key_id=key_id, caps=tuple(MonthlyCap(*cap) for cap in caps))


async def test_what_descendants_spend_counts_against_every_cap_above_them(
    ledger: LedgerStore, database: Database
) -> None:
    parent, child = ("parent", CAP), ("child", PRICE)
    served = await commit(
        ledger,
        *(family("a", "child", parent, child), family("b", "other", parent), family("c", "child", parent, child)),
        *(family("d", "parent", parent), family("e", "other", parent)),
    )
    assert [isinstance(answer, Effect) for answer in served] == [True, True, False, True, False]
    for refused, names in ((served[2], "at most 10 credits"), (served[4], "descendants of parent")):
        assert isinstance(refused, MeshError)
        assert refused.code is Code.INSUFFICIENT_CREDITS
        assert names in refused.message
    query = "SELECT key_id, spent FROM key_months ORDER BY key_id"
    assert await rows(database, query) == [("child", 10), ("parent", 30)]
    # What one of them gives back, all of them may spend again; the reports still name the key that asked.
    await commit(ledger, settle("a", Outcome.FAILED), settle("b"))
    assert await rows(database, query) == [("child", 0), ("parent", 20)]
    await one(ledger, family("f", "child", parent, child))
    assert await rows(database, "SELECT key_id FROM holds WHERE request_id = 'f'") == [("child",)]
    await assert_sound(ledger)


async def test_a_rotated_key_goes_on_in_the_month_of_the_old_one(ledger: LedgerStore) -> None:
    await commit(ledger, *(capped(name, "first") for name in "abc"), settle("a"))
    (answer,) = await commit(ledger, family("d", "second", ("first", CAP)))
    assert code(answer) is Code.INSUFFICIENT_CREDITS
    await assert_sound(ledger)


async def test_a_late_capture_and_a_refund_count_under_every_cap(ledger: LedgerStore, database: Database) -> None:
    both = ("parent", CAP), ("child", CAP - 1)
    query = "SELECT spent FROM key_months ORDER BY key_id"
    await commit(ledger, family("a", "child", *both), expire("a"))
    await commit(ledger, settle("a"))
    assert await rows(database, query) == [(10,), (10,)]
    await commit(ledger, settle("a", Outcome.FAILED))
    assert await rows(database, query) == [(0,), (0,)]
    await assert_sound(ledger)


async def test_a_wrong_sum_of_a_shared_cap_is_found_by_the_audit(ledger: LedgerStore, database: Database) -> None:
    await commit(ledger, family("a", "child", ("parent", CAP), ("child", PRICE)))
    await database.transaction(
        lambda connection: connection.exec_driver_sql("UPDATE key_months SET spent = 0 WHERE key_id = 'parent'").close()
    )
    (violation,) = (await ledger.audit()).violations
    assert violation.startswith("key parent has spent 0 in the month from ")


async def test_a_cap_shared_by_many_keys_serves_exactly_k(replicas: list[Replica]) -> None:
    await commit(replicas[0].store, grant(10_000))
    parent = ("parent", 20 * PRICE + 7)
    doing = [
        replicas[i % len(replicas)].do(family(f"r{i}", f"child{i % 5}", parent, (f"child{i % 5}", 6 * PRICE)))
        for i in range(100)
    ]
    answers = await asyncio.gather(*doing)
    assert sum(isinstance(answer, Effect) for answer in answers) == 20
    assert {answer.code for answer in answers if isinstance(answer, MeshError)} == {Code.INSUFFICIENT_CREDITS}
    await assert_sound(replicas[0].store)
