"""Idempotency keys as rows on both databases: of one key's requests at most one is open or charged."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy.exc import IntegrityError

from services.billing.ledger.holds import Outcome
from services.billing.ledger.ledger import Balance
from services.billing.ledger.operations import Effect, Operation, Reserve
from services.billing.store.store import LedgerStore
from services.common.database.base import Database
from services.common.errors import Code, MeshError
from tests.integration.billing.operations_for_tests import (
    PRICE,
    assert_sound,
    code,
    commit,
    execute,
    expire,
    grant,
    one,
    reserve,
    settle,
)
from tests.integration.billing.replica import Replica


def keyed(request_id: str, account_id: str = "acct", key: str = "order-1") -> Reserve:
    return reserve(request_id, account_id)._replace(idempotency_key=key)


@pytest.fixture
async def ledger(store: LedgerStore) -> LedgerStore:
    await commit(store, grant(100), grant(100, "other", "grant2"))
    return store


async def test_a_repeat_while_the_first_runs_is_refused_and_names_it(ledger: LedgerStore) -> None:
    await one(ledger, keyed("first"))
    (answer,) = await commit(ledger, keyed("second"))
    assert isinstance(answer, MeshError)
    assert (answer.code, answer.param) == (Code.CONFLICT, "Idempotency-Key")
    assert "first" in answer.message
    # It passes by itself.
    assert answer.retry_after > 0
    assert await ledger.balance("acct") == Balance(90, 10)


@pytest.mark.parametrize("outcome", [Outcome.COMPLETED, Outcome.CLIENT_LEFT_LATE])
async def test_a_repeat_after_the_first_was_charged_is_refused_for_ever(ledger: LedgerStore, outcome: Outcome) -> None:
    await commit(ledger, keyed("first"), settle("first", outcome))
    (answer,) = await commit(ledger, keyed("second"))
    assert isinstance(answer, MeshError)
    assert (answer.code, answer.retry_after) == (Code.CONFLICT, 0)
    assert "GET /v1/requests/first" in answer.message


@pytest.mark.parametrize("outcome", [Outcome.EMPTY, Outcome.CLIENT_LEFT_EARLY, Outcome.FAILED, None])
@pytest.mark.parametrize("together", [True, False], ids=["one batch", "two batches"])
async def test_a_repeat_after_the_first_was_free_runs(
    ledger: LedgerStore, outcome: Outcome | None, together: bool
) -> None:
    await one(ledger, keyed("first"))
    end: Operation = expire("first") if outcome is None else settle("first", outcome)
    batches: list[list[Operation]] = [[end, keyed("second")]] if together else [[end], [keyed("second")]]
    for batch in batches:
        assert all(isinstance(answer, Effect) for answer in await commit(ledger, *batch))
    await one(ledger, settle("second"))
    assert code((await commit(ledger, keyed("third")))[0]) is Code.CONFLICT
    assert await ledger.balance("acct") == Balance(90, 0)
    await assert_sound(ledger)


async def test_a_refund_gives_the_key_back(ledger: LedgerStore) -> None:
    await commit(ledger, keyed("first"), settle("first"), settle("first", Outcome.FAILED))
    await one(ledger, keyed("second"))
    assert await one(ledger, settle("second")) == Effect(PRICE, 90, 0)


async def test_a_repeated_call_is_no_repeated_request(ledger: LedgerStore) -> None:
    assert await one(ledger, keyed("first")) == await one(ledger, keyed("first"))


async def test_accounts_and_keys_do_not_hinder_each_other(ledger: LedgerStore) -> None:
    answers = await commit(
        ledger, keyed("a"), keyed("b", "other"), keyed("c", key="order-2"), reserve("d"), reserve("e")
    )
    assert all(isinstance(answer, Effect) for answer in answers)


async def test_of_an_expired_request_and_its_repeat_only_one_is_charged(ledger: LedgerStore) -> None:
    await commit(ledger, keyed("first"), expire("first"), keyed("second"))
    # The edge of the first one comes back with an answer; its client is told that it failed.
    assert code((await commit(ledger, settle("first")))[0]) is Code.CONFLICT
    await one(ledger, settle("second"))
    assert code((await commit(ledger, settle("first")))[0]) is Code.CONFLICT
    assert await ledger.balance("acct") == Balance(90, 0)
    await assert_sound(ledger)


async def test_an_expired_request_without_a_repeat_is_charged_and_takes_its_key_back(ledger: LedgerStore) -> None:
    await commit(ledger, keyed("first"), expire("first"))
    assert await one(ledger, settle("first")) == Effect(PRICE, 90, 0)
    assert code((await commit(ledger, keyed("second")))[0]) is Code.CONFLICT


async def test_the_database_itself_keeps_the_promise(ledger: LedgerStore, database: Database) -> None:
    await commit(ledger, keyed("first"), keyed("other", key="order-2"))
    columns = "account_id, key_id, model, quantity, unit_price, amount, reserved_ms, state, outcome, prompt_tokens, \
        completion_tokens, runner_id, idempotency_key"
    with pytest.raises(IntegrityError, match=r"(?i)unique"):
        await execute(
            database,
            f"INSERT INTO holds (request_id, {columns}) SELECT 'forged', {columns} FROM holds "
            "WHERE request_id = 'first'",
        )
    with pytest.raises(IntegrityError, match="never changes what it was made with"):
        await execute(database, "UPDATE holds SET idempotency_key = 'order-3' WHERE request_id = 'other'")


async def test_of_many_at_once_exactly_one_runs(replicas: list[Replica]) -> None:
    await commit(replicas[0].store, grant(1000))
    doing = [replicas[i % len(replicas)].do(keyed(f"r{i}", key=f"k{i % 5}")) for i in range(60)]
    answers = await asyncio.gather(*doing)
    assert sum(isinstance(answer, Effect) for answer in answers) == 5
    assert {answer.code for answer in answers if isinstance(answer, MeshError)} == {Code.CONFLICT}
    assert await replicas[0].store.balance("acct") == Balance(950, 50)
    await assert_sound(replicas[0].store)
