"""What a ledger holds whose database has lost what was not synced, and what becomes of the requests."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import deepcopy
from itertools import count
from pathlib import Path
from typing import Protocol

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from services.billing.ledger.holds import Outcome
from services.billing.ledger.operations import needs_sync
from services.billing.store.store import MIGRATIONS, LedgerStore
from services.common.database.base import Database
from services.common.errors import Code, MeshError
from services.common.rpc.channels import channel_opener
from services.common.settings import TlsSettings
from services.edge.authentication import Principal
from services.edge.paid.hold import NO_TOKENS, BillingClient, Hold, billing_client
from tests.integration.billing.billing_client import PRICE, PRO
from tests.integration.billing.billing_client import BillingClient as Operator
from tests.integration.billing.ledger_model import LedgerModel
from tests.integration.billing.ledger_steps import (
    ACCOUNTS,
    REQUESTS,
    Step,
    step_of_grant,
    step_of_reserve,
    step_of_settle,
    steps_of_requests,
)
from tests.integration.billing.operations_for_tests import NOW_MS, assert_sound
from tests.support.forked_service import ForkedServiceProcess
from tests.support.migrated import migrated_database
from tests.support.postgres import PostgresServer, create_database
from tiermesh.billing.v1 import billing_pb2

# A hold of the last moment, a charge that puts earlier holds on the disk, and a hold behind it.
_BATCHES = [
    [step_of_grant(0, ACCOUNTS[0], 25)],
    [step_of_reserve(REQUESTS[0], ACCOUNTS[0])],
    [step_of_settle(REQUESTS[0], Outcome.COMPLETED)],
    [step_of_reserve(REQUESTS[1], ACCOUNTS[0])],
]


@given(
    batches=st.lists(st.lists(steps_of_requests, min_size=1, max_size=3), min_size=1, max_size=8),
    kept=st.floats(0, 1),
    torn=st.binary(max_size=30),
)
@example(batches=_BATCHES, kept=0.0, torn=b"")
@example(batches=_BATCHES, kept=0.6, torn=b"what was on the disk before")
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_sqlite_keeps_all_that_was_synced(
    sqlite_template: Path, batches: list[list[Step]], kept: float, torn: bytes
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(_lose_power(sqlite_template, Path(directory), batches, kept, torn))


async def _lose_power(template: Path, directory: Path, batches: list[list[Step]], kept: float, torn: bytes) -> None:
    """Runs the batches; of what was not synced at the end, a part is left of the log, and then something else."""
    before, after = directory / "before.db", directory / "after.db"
    shutil.copy(template, before)
    database, model = Database(f"sqlite:///{before}"), LedgerModel()
    log = synced = b""
    # What the ledger may be afterwards.
    moments = [deepcopy(model)]
    for steps in batches:
        operations = [operation for operation, _ in steps]
        await LedgerStore(database).commit(operations, NOW_MS)
        for _, do in steps:
            do(model)
        earlier, log = log, (directory / "before.db-wal").read_bytes()
        assert log.startswith(synced), "so few pages begin no new log"
        if any(map(needs_sync, operations)) and log != earlier:
            moments, synced = [], log
        moments.append(deepcopy(model))
    shutil.copy(before, after)
    (directory / "after.db-wal").write_bytes(log[: len(synced) + round(kept * (len(log) - len(synced)))] + torn)
    await database.close()
    database = Database(f"sqlite:///{after}")
    store = LedgerStore(database)
    await assert_sound(store)
    found = await _read(store)
    assert found in [_expected(moment) for moment in moments]
    await database.close()


async def _read(store: LedgerStore) -> object:
    balances = {account: await store.balance(account) for account in ACCOUNTS}
    holds = {request: await store.request(request) for request in REQUESTS}
    return (
        {account: (balance.available, balance.held) for account, balance in balances.items()},
        {request: hold.account_id for request, hold in holds.items() if hold is not None},
    )


def _expected(model: LedgerModel) -> object:
    balances = {account: (model.available.get(account, 0), model.held(account)) for account in ACCOUNTS}
    return balances, model.payer


class Machine(Protocol):
    """What billing's database runs on."""

    url: str

    async def synced(self) -> None:
        """Hears that the last commit was a synced one."""

    async def lose_power(self, billing: ForkedServiceProcess) -> None:
        """Loses what was committed since, and comes back."""


class SqliteMachine:
    """The machine of billing itself."""

    def __init__(self, path: Path) -> None:
        self.url = f"sqlite:///{path}"
        self._path = path
        self._log = path.with_name(path.name + "-wal")
        self._synced = b""

    async def synced(self) -> None:
        """Keeps the log."""
        self._synced = self._log.read_bytes()

    async def lose_power(self, billing: ForkedServiceProcess) -> None:
        """Loses the end of the log."""
        await billing.kill()
        assert len(self._synced) < len(self._log.read_bytes())
        self._log.write_bytes(self._synced)
        self._path.with_name(self._path.name + "-shm").unlink()
        await billing.start()


class PostgresMachine:
    """A server that keeps in its memory what need not be on the disk."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self.url = create_database(server.url, migrated_database(server.url, MIGRATIONS))

    async def synced(self) -> None:
        """Does nothing."""

    async def lose_power(self, billing: ForkedServiceProcess) -> None:
        """Ends all of it at once."""
        del billing
        await asyncio.to_thread(self._server.kill)
        await asyncio.to_thread(self._server.start)


@asynccontextmanager
async def _postgres() -> AsyncIterator[PostgresMachine]:
    # It writes the log by itself seldom, so that there is something to lose.
    server = await asyncio.to_thread(PostgresServer, settings={"wal_writer_delay": "10s"})
    try:
        await asyncio.to_thread(server.start)
        yield await asyncio.to_thread(PostgresMachine, server)
    finally:
        await asyncio.to_thread(server.remove)


@pytest.fixture(params=["sqlite", "postgres"])
async def machine(request: pytest.FixtureRequest, sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Machine]:
    if request.param == "sqlite":
        yield SqliteMachine(Path(shutil.copy(sqlite_template, tmp_path / "billing.db")))
        return
    async with _postgres() as postgres:
        yield postgres


async def _reserve(edge: BillingClient, request_id: str, account_id: str = "acct", idempotency_key: str = "") -> Hold:
    return await edge.reserve(request_id, Principal("key", account_id), PRO, idempotency_key=idempotency_key)


async def test_requests_whose_holds_are_lost_are_charged_once(machine: Machine, tmp_path: Path) -> None:
    async with (
        ForkedServiceProcess("billing", tmp_path, {"database_url": machine.url}) as process,
        Operator(process.address) as operator,
    ):
        batch = billing_client([process.address], channel_opener(TlsSettings()))
        edge = BillingClient(batch, reserve_timeout=30.0, settle_timeout=30.0, release_timeout=30.0)
        batch.open()
        await operator.grant(100)
        await operator.grant(PRICE, "poor")
        # A key that keeps repeats out is never lost.
        keyed = await _reserve(edge, "keyed", idempotency_key="again")
        for attempt in count():
            await machine.synced()
            holds = [await _reserve(edge, f"{name}-{attempt}") for name in ("answered", "left", "failed")]
            poor = await _reserve(edge, f"poor-{attempt}", "poor")
            await machine.lose_power(process)
            if await operator.balance() == (100 - PRICE, PRICE):
                break
            # The server has happened to write its log.
            for hold in (*holds, poor):
                await hold.settle(billing_pb2.OUTCOME_FAILED, NO_TOKENS)
        answered, left, failed = holds
        assert await operator.balance("poor") == (PRICE, 0)
        with pytest.raises(MeshError) as refused:
            await _reserve(edge, "repeat", idempotency_key="again")
        assert refused.value.code is Code.CONFLICT

        receipt = await answered.settle(billing_pb2.OUTCOME_COMPLETED, NO_TOKENS)
        assert (receipt.charged, receipt.remaining) == (PRICE, 100 - 2 * PRICE)
        assert await answered.settle(billing_pb2.OUTCOME_COMPLETED, NO_TOKENS) == receipt
        left.abandon(billing_pb2.OUTCOME_CLIENT_LEFT_LATE)
        failed.abandon(billing_pb2.OUTCOME_FAILED)
        # Its credits were spent by another request, so that it ends with an error, and for nothing.
        other = await _reserve(edge, "other", "poor")
        assert (await other.settle(billing_pb2.OUTCOME_COMPLETED, NO_TOKENS)).charged == PRICE
        with pytest.raises(MeshError) as refused:
            await poor.settle(billing_pb2.OUTCOME_COMPLETED, NO_TOKENS)
        assert refused.value.code is Code.INSUFFICIENT_CREDITS
        await keyed.settle(billing_pb2.OUTCOME_COMPLETED, NO_TOKENS)
        await edge.drain(30.0)
        assert await operator.balance() == (100 - 3 * PRICE, 0)
        assert await operator.balance("poor") == (0, 0)
        assert list((await operator.audit()).violations) == []
        await batch.close()
