"""A billing replica that stands still for longer than its callers wait, and then goes on with what it had not read."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from services.common.batch.lane import LaneState
from services.common.errors import MeshError
from services.common.rpc.channels import channel_opener
from services.common.settings import TlsSettings
from services.edge.authentication import Principal
from services.edge.paid.hold import BillingClient, billing_client
from tests.integration.billing.billing_client import PRICE, PRO
from tests.integration.billing.billing_client import BillingClient as Operator
from tests.support.forked_service import ForkedServiceProcess
from tests.support.process import ServiceProcess
from tests.support.waiting import eventually

# How long the edge waits for a Reserve, in seconds; the replica stands still for longer.
RESERVE_SECONDS = 0.5
STALL_SECONDS = 1.5
REQUESTS = 20
PRINCIPAL = Principal("key", "acct")


@pytest.fixture
async def replicas(postgres_database_url: str, tmp_path: Path) -> AsyncIterator[list[ServiceProcess]]:
    settings = {"database_url": postgres_database_url}
    for name in "ab":
        (tmp_path / name).mkdir()
    async with (
        ForkedServiceProcess("billing", tmp_path / "a", settings) as first,
        ForkedServiceProcess("billing", tmp_path / "b", settings) as second,
    ):
        yield [first, second]


@pytest.mark.parametrize("client_leaves", [False, True])
async def test_what_was_given_up_holds_nothing_afterwards(replicas: list[ServiceProcess], client_leaves: bool) -> None:
    batch = billing_client([replica.address for replica in replicas], channel_opener(TlsSettings()))
    # In one case the time limit is why the edge gives up, in the other its client leaves.
    patience = 30.0 if client_leaves else RESERVE_SECONDS
    edge = BillingClient(batch, reserve_timeout=patience, settle_timeout=30.0, release_timeout=30.0)
    batch.open()
    async with Operator(replicas[1].address) as operator:
        await operator.grant(REQUESTS * PRICE)
        await eventually(lambda: all(lane.state is LaneState.READY for lane in batch._lanes))
        os.kill(replicas[0].pid, signal.SIGSTOP)
        began = time.monotonic()
        requests = [asyncio.create_task(reserve(edge, f"request-{number}")) for number in range(REQUESTS)]
        await asyncio.wait(requests, timeout=RESERVE_SECONDS)
        if client_leaves:
            for request in requests:
                request.cancel()
        ends = await asyncio.gather(*requests, return_exceptions=True)
        held = ends.count(None)
        assert 0 < held < REQUESTS, "the one replica serves, the other does not"
        assert {type(end) for end in ends if end} == {asyncio.CancelledError if client_leaves else MeshError}
        await asyncio.sleep(max(0.0, began + STALL_SECONDS - time.monotonic()))
        os.kill(replicas[0].pid, signal.SIGCONT)
        await edge.drain(30.0)
        # Every Reserve, and a Settle for each that was given up, has been read by one of the two.
        await eventually(partial(all_read, replicas, REQUESTS + REQUESTS - held), timeout=30.0)
        assert await operator.balance() == ((REQUESTS - held) * PRICE, held * PRICE)
        assert list((await operator.audit()).violations) == []
    await batch.close()


async def reserve(edge: BillingClient, request_id: str) -> None:
    await edge.reserve(request_id, PRINCIPAL, PRO)


async def all_read(replicas: list[ServiceProcess], calls: int) -> bool:
    return sum([await received(replica) for replica in replicas]) >= calls


async def received(replica: ServiceProcess) -> int:
    """Returns how many calls a replica has read from its batch streams."""
    sample = 'tiermesh_batch_items_total{direction="received",stream="billing.transact"} '
    lines = (await replica.metrics()).splitlines()
    return round(sum(float(line.removeprefix(sample)) for line in lines if line.startswith(sample)))
