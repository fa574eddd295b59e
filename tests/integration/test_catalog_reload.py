"""A price changes in the catalog file of a running mesh; and a tier that has no runner wakes up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from tests.support.forked_service import ForkedServiceProcess
from tests.support.mesh import LocalMesh
from tests.support.waiting import eventually

PROMPT: Any = [{"role": "user", "content": "Tell me about the bridge over the river"}]
CATALOG = """
models:
  - {{id: tiermesh-pro, kind: chat, tier: pro, price: {price}, context: 4096}}
  - {{id: sleeping, kind: chat, tier: sleeping, price: 3, context: 4096, cold_start_seconds: 60}}
"""


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[LocalMesh]:
    (tmp_path / "models.yaml").write_text(CATALOG.format(price=10))
    # A runner does not start as fast as a request would give up that waited for a slot.
    settings = {"TIERMESH_RUNNER_SIMULATED_SPEED": "100", "TIERMESH_EDGE_QUEUE_TIMEOUT": "0.5"}
    async with LocalMesh(tmp_path, "--models", str(tmp_path / "models.yaml"), environ=settings) as mesh:
        yield mesh


@pytest.fixture
async def client(mesh: LocalMesh) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=mesh.base_url, api_key=mesh.unlimited_key, max_retries=0) as client:
        yield client


def available(mesh: LocalMesh) -> int:
    return int(mesh.command_now("balance", mesh.account_id)["available"])


async def test_new_requests_cost_the_new_price_and_old_holds_the_old_one(
    mesh: LocalMesh, client: openai.AsyncOpenAI, tmp_path: Path
) -> None:
    catalog, before, costs = tmp_path / "models.yaml", available(mesh), []
    running = await client.chat.completions.create(model="tiermesh-pro", messages=PROMPT, max_tokens=600, stream=True)
    await anext(running)
    assert available(mesh) == before - 10
    await asyncio.to_thread(catalog.write_text, CATALOG.format(price=25))

    async def costs_the_new_price() -> bool:
        was = available(mesh)
        await client.chat.completions.create(model="tiermesh-pro", messages=PROMPT, max_tokens=1)
        costs.append(was - available(mesh))
        return costs[-1] == 25

    await eventually(costs_the_new_price, 30.0)

    async def shows_the_new_price() -> bool:
        shown = await client.models.retrieve("tiermesh-pro")
        return bool(shown.model_dump()["pricing"]["credits"] == 25)

    await eventually(shows_the_new_price, 30.0)
    # The stream that began before ends at the price that it was promised.
    async for _ in running:
        pass
    assert before - available(mesh) == 10 + sum(costs)
    assert set(costs) <= {10, 25}
    # A mistake in the file changes nothing.
    await asyncio.to_thread(catalog.write_text, "models: [nonsense")
    await eventually(lambda: "catalog_unusable" in (mesh.state_dir / "logs" / "billing.log").read_text(), 30.0)
    assert await costs_the_new_price()
    assert mesh.command_now("ledger", "audit")["violations"] == []


async def test_the_first_request_to_a_sleeping_tier_waits_for_its_runner(
    mesh: LocalMesh, client: openai.AsyncOpenAI, tmp_path: Path
) -> None:
    request = asyncio.create_task(client.chat.completions.create(model="sleeping", messages=PROMPT, max_tokens=2))
    router = mesh.metrics["router"]
    await eventually(lambda: queue_depth(router) == 1)
    fields = {
        "engine": "simulated",
        "tier": "sleeping",
        "catalog_file": str(tmp_path / "models.yaml"),
        **mesh.etcd_settings,
    }
    async with ForkedServiceProcess("runner", tmp_path, fields | mesh.tls_settings("runner")):
        answer = await request
    assert answer.choices[0].finish_reason == "length"


def queue_depth(url: str) -> float:
    lines = httpx2.get(url).text.splitlines()
    return sum(
        float(line.split()[-1]) for line in lines if line.startswith('tiermesh_router_queue_depth{tier="sleeping"')
    )
