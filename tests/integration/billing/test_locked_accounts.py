"""On PostgreSQL, whoever locks one account delays that one and no other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from services.billing.ledger.operations import Effect
from services.common.errors import MeshError
from tests.integration.billing.billing_client import BillingClient
from tests.integration.billing.deposits_for_tests import add_addresses, blocks, deposit
from tests.integration.billing.operations_for_tests import grant, reserve, settle
from tests.integration.billing.replica import Replica
from tests.support.deadlines import within
from tests.support.forked_service import ForkedServiceProcess

# Others must be served within these seconds, which is much less than a lock is waited for by default.
SOON = 1.0


_CURSORS = "SELECT * FROM deposit_cursors WHERE watcher = $1 FOR UPDATE"
# What a writer does, without any row.
_WRITING = """
    INSERT INTO entries (reference, kind, account_id, pocket, amount, at_ms)
    SELECT '', 'grant', $1, 'available', 0, 0 WHERE false
"""


@asynccontextmanager
async def locked(
    url: str, name: str, statement: str = "SELECT * FROM balances WHERE account_id = $1 FOR UPDATE"
) -> AsyncIterator[None]:
    """Holds the row of an account, or another row, as a forgotten psql does."""
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        async with connection.transaction():
            await connection.execute(statement, name)
            yield
    finally:
        await connection.close()


@pytest.fixture
async def replica(postgres_database_url: str) -> AsyncIterator[Replica]:
    replica = Replica(postgres_database_url, 256, lock_seconds=0.1)
    for account in ("held", "other", "third"):
        assert isinstance(await replica.do(grant(100, account, f"grant-{account}")), Effect)
    assert isinstance(await replica.do(reserve("old", "held")), Effect)
    yield replica
    await replica.close()


async def test_all_others_go_on_and_nothing_of_the_locked_one_is_lost(
    replica: Replica, postgres_database_url: str
) -> None:
    async with locked(postgres_database_url, "held"):
        waiting = [asyncio.create_task(replica.do(reserve(f"held-{number}", "held"))) for number in range(5)]
        # An end does not name its account.
        waiting.append(asyncio.create_task(replica.do(settle("old"))))
        for number in range(4):
            async with within(SOON):
                answers = await asyncio.gather(
                    replica.do(reserve(f"other-{number}", "other")),
                    replica.do(reserve(f"third-{number}", "third")),
                    replica.do(settle(f"other-{number - 1}")),
                    replica.do(grant(1, f"new-{number}", f"new-{number}")),
                )
            assert isinstance(answers[0], Effect)
            assert isinstance(answers[1], Effect)
            assert isinstance(answers[3], Effect)
        assert not any(task.done() for task in waiting)
    effects = await asyncio.gather(*waiting)
    assert all(isinstance(effect, Effect) for effect in effects), effects
    balance = await replica.store.balance("held")
    assert (balance.available, balance.held) == (40, 50)
    assert not (await replica.store.audit()).violations


@pytest.mark.parametrize("cursor", [True, False])
async def test_a_range_of_blocks_waits_and_delays_nobody(
    replica: Replica, postgres_database_url: str, cursor: bool
) -> None:
    await add_addresses(replica.database, ["held"])
    assert await replica.do(blocks(1, 1, deposit(1, 9_999, "held"))) == Effect(0, 0, 0)
    held = ("first", _CURSORS) if cursor else ("held",)
    async with locked(postgres_database_url, *held):
        waiting = asyncio.create_task(replica.do(blocks(2, 2, deposit(2, 20_001, "held"))))
        for number in range(3):
            async with within(SOON):
                assert isinstance(await replica.do(reserve(f"other-{number}", "other")), Effect)
        assert not waiting.done()
    assert await waiting == Effect(3, 0, 0)
    assert (await replica.store.balance("held")).available == 93
    assert not (await replica.store.audit()).violations


async def test_two_locked_accounts_are_tried_apart(replica: Replica, postgres_database_url: str) -> None:
    async with locked(postgres_database_url, "held"):
        first = [asyncio.create_task(replica.do(reserve(f"held-{number}", "held"))) for number in range(3)]
        async with locked(postgres_database_url, "other"):
            second = asyncio.create_task(replica.do(reserve("other-1", "other")))
            async with within(SOON):
                assert isinstance(await replica.do(reserve("third-1", "third")), Effect)
            assert not second.done()
        async with within(SOON):
            assert isinstance(await second, Effect)
        assert not any(task.done() for task in first)
    assert all(isinstance(effect, Effect) for effect in await asyncio.gather(*first))


async def test_a_process_serves_the_others_too(postgres_database_url: str, billing_on_postgres: BillingClient) -> None:
    client = billing_on_postgres
    for account in ("held", "other"):
        await client.grant(100, account)
    async with locked(postgres_database_url, "held"):
        late = asyncio.create_task(client.grant(5, "held"))
        for _ in range(3):
            async with within(SOON):
                await client.grant(1, "other")
        assert not late.done()
    await late


@pytest.fixture
async def billing_on_postgres(
    postgres_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[BillingClient]:
    directory = tmp_path_factory.mktemp("billing")
    async with (
        ForkedServiceProcess("billing", directory, {"database_url": postgres_database_url}) as process,
        BillingClient(process.address) as client,
    ):
        yield client


async def test_an_audit_that_waits_for_a_writer_fails_no_charge(replica: Replica, postgres_database_url: str) -> None:
    """Whoever writes entries waits behind the audit, which waits for all who are writing some."""
    async with locked(postgres_database_url, "nobody", _WRITING):
        audit = asyncio.create_task(replica.store.audit_new())
        reserved = [await replica.do(reserve(f"other-{number}", "other")) for number in range(8)]
        assert all(isinstance(effect, Effect) for effect in reserved), reserved
        with pytest.raises(MeshError, match="held up"):
            await audit
    assert not (await replica.store.audit_new()).violations
