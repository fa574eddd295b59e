"""Real billing processes that are killed, stopped, and started again."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

from services.common.errors import MeshError
from tests.integration.billing.billing_client import PRICE, BillingClient
from tests.support.forked_service import ForkedServiceProcess
from tests.support.process import ServiceProcess
from tests.support.waiting import eventually
from tiermesh.billing.v1 import billing_pb2


async def test_a_kill_between_reserve_and_settle_charges_once(billing: ServiceProcess, client: BillingClient) -> None:
    await client.grant(100)
    await client.reserve("r")
    await billing.kill()
    # The edge does not know whether its settle arrived, so it keeps sending it.
    settling = asyncio.create_task(client.settle("r"))
    await billing.start()
    assert (await settling).amount == PRICE
    assert (await client.settle("r")).available == 90
    assert await client.balance() == (90, 0)
    assert not (await client.audit()).violations


async def test_a_kill_in_the_middle_of_traffic_loses_and_doubles_nothing(
    billing: ServiceProcess, client: BillingClient
) -> None:
    requests = 200
    await client.grant(requests * PRICE)

    async def serve(number: int) -> None:
        await client.reserve(f"r{number}")
        await client.settle(f"r{number}")

    serving = [asyncio.create_task(serve(number)) for number in range(requests)]
    for _ in range(2):
        await eventually(lambda: any(task.done() for task in serving))
        await billing.kill()
        await billing.start()
    await asyncio.gather(*serving)
    assert await client.balance() == (0, 0)
    report = await client.audit()
    assert (list(report.violations), report.open_holds) == ([], 0)
    assert report.entries == 2 + 4 * requests


async def test_sigterm_answers_what_waits_and_exits_cleanly(billing: ServiceProcess, client: BillingClient) -> None:
    await client.grant(1_000 * PRICE)
    reserving = [asyncio.create_task(client.reserve(f"r{number}")) for number in range(500)]
    await eventually(lambda: any(task.done() for task in reserving))
    assert await billing.stop() == 0
    await billing.start()
    await asyncio.gather(*reserving)
    assert await client.balance() == (500 * PRICE, 500 * PRICE)


async def test_holds_of_a_dead_edge_are_released(sqlite_database_url: str, tmp_path: Path) -> None:
    settings = {"database_url": sqlite_database_url, "hold_ttl_seconds": "0.2", "sweep_seconds": "0.05"}
    async with ForkedServiceProcess("billing", tmp_path, settings) as process, BillingClient(process.address) as client:
        await client.grant(100)
        await client.reserve("forgotten")

        async def released() -> bool:
            return await client.balance() == (100, 0)

        await eventually(released)
        # The edge was only slow: what it delivered is paid after all.
        assert (await client.settle("forgotten")).amount == PRICE
        assert (await client.settle("forgotten", billing_pb2.OUTCOME_EMPTY)).amount == PRICE
        assert await client.balance() == (90, 0)


async def test_two_replicas_share_one_postgres(postgres_database_url: str, tmp_path: Path) -> None:
    settings = {"database_url": postgres_database_url}
    async with (
        ForkedServiceProcess("billing", tmp_path, settings) as one,
        ForkedServiceProcess("billing", tmp_path, settings) as two,
        BillingClient(one.address, two.address) as client,
    ):
        await eventually(lambda: client.stream.connected)
        await client.grant(50 * PRICE)

        async def serve(number: int) -> str:
            try:
                await client.reserve(f"r{number}")
                await client.settle(f"r{number}")
            except MeshError as error:
                return error.code.name
            return "served"

        serving = [asyncio.create_task(serve(number)) for number in range(120)]
        await eventually(lambda: any(task.done() for task in serving))
        await two.kill()
        assert Counter(await asyncio.gather(*serving)) == {"served": 50, "INSUFFICIENT_CREDITS": 70}
        assert await client.balance() == (0, 0)
        assert not (await client.audit()).violations
