"""A tier of two llama.cpp servers, each with a runner in front of it: they are killed and stand still at work.

The tests use up what they kill, in their order.
"""

from __future__ import annotations

import asyncio
import math
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import openai
import pytest
import pytest_asyncio

from services.runner.demonstrations.packaged import find_smollm2
from tests.support.account import FundedAccount
from tests.support.deadlines import stretched, within
from tests.support.llamacpp_server import CONTEXT, SLOTS, LlamaCppServer
from tests.support.mesh import LocalMesh
from tests.support.process import ServiceProcess
from tests.support.waiting import eventually

# A server must not seem to stand still because the machine is busy.
SILENCE = math.ceil(stretched(3.0))
CATALOG = f"""
models:
  - {{id: tiermesh-pro, kind: chat, tier: pro, price: 10, context: 4096}}
  - {{id: local, kind: chat, tier: local, price: 10, context: {CONTEXT}, silence_seconds: {SILENCE}}}
"""
STORY = "Tell me a very long story about a fox."
pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass(frozen=True)
class Site:
    """A server, and the runner in front of it."""

    server: LlamaCppServer
    runner: ServiceProcess
    id: str

    async def busy(self) -> bool:
        """Whether the runner has something to do."""
        return "tiermesh_runner_slots_active 0.0" not in await self.runner.metrics()


@dataclass(frozen=True)
class Tier:
    """The tier, its mesh, and a customer."""

    mesh: LocalMesh
    sites: list[Site]
    customer: FundedAccount
    client: openai.AsyncOpenAI

    def begin(self, question: str, **fields: Any) -> Any:
        """Begins a chat."""
        messages: Any = [{"role": "user", "content": question}]
        return self.client.chat.completions.create(model="local", messages=messages, **fields)

    async def serving(self) -> Site:
        """Returns the site that has something to do; there is one."""
        (site,) = [site for site in self.sites if await site.busy()]
        return site

    async def settled(self, answers: int, before: int) -> None:
        """Waits until nothing is held, and checks that so many answers have been paid."""

        async def nothing_held() -> bool:
            return bool((await self.mesh.command("balance", self.customer.account))["held"] == 0)

        await eventually(nothing_held, 20)
        assert await self.credits() == before - 10 * answers

    async def credits(self) -> int:
        return int((await self.mesh.command("balance", self.customer.account))["available"])

    def moves_from(self, site: Site) -> list[str]:
        """Returns what the edge has logged of requests that it took from a runner."""
        lines = (self.mesh.state_dir / "logs" / "edge.log").read_text().splitlines()
        return [line for line in lines if '"generation_moves"' in line and f'"{site.id}"' in line]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tier(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Tier]:
    folder: Path = tmp_path_factory.mktemp("upstreams")
    catalog = folder / "models.yaml"
    catalog.write_text(CATALOG)
    async with AsyncExitStack() as stack:
        model = find_smollm2()
        servers = [await stack.enter_async_context(LlamaCppServer(model)) for _ in range(2)]
        waits = {"TIERMESH_EDGE_QUEUE_TIMEOUT": str(stretched(30.0))}
        mesh = await stack.enter_async_context(LocalMesh(folder, "--models", str(catalog), environ=waits))
        sites = []
        for number, server in enumerate(servers):
            settings = {"id": f"site-{number}", "engine": "upstream", "upstream_url": server.url, "tier": "local"}
            settings |= {"catalog_file": str(catalog), "context": str(CONTEXT), "slots": "8"}
            runner = ServiceProcess("runner", folder, settings | mesh.etcd_settings | mesh.tls_settings("runner"))
            sites.append(Site(server, await stack.enter_async_context(runner), settings["id"]))
        customer = FundedAccount(mesh)
        key = customer.new_key()["api_key"]
        client = openai.AsyncOpenAI(base_url=mesh.base_url, api_key=key, max_retries=0)
        yield Tier(mesh, sites, customer, await stack.enter_async_context(client))


async def text_of(stream: Any, said: list[str]) -> None:
    """Reads a stream to its end."""
    async for chunk in stream:
        (choice,) = chunk.choices
        said.append(choice.delta.content or "")


async def test_a_request_that_has_not_begun_moves_from_a_server_that_stands_still(tier: Tier) -> None:
    frozen = tier.sites[0]
    before = await tier.credits()
    began = time.monotonic()
    frozen.server.send(signal.SIGSTOP)

    async def ask(number: int) -> str:
        """Every second answer is sent as it comes."""
        if number % 2:
            said: list[str] = []
            await text_of(await tier.begin(f"{number} Hello", max_tokens=8, stream=True), said)
            return "".join(said)
        return str((await tier.begin(f"{number} Hello", max_tokens=8)).choices[0].message.content)

    # As many as both servers run at once.
    assert all(await asyncio.gather(*(ask(number) for number in range(2 * SLOTS))))
    assert time.monotonic() - began >= SILENCE
    moves = tier.moves_from(frozen)
    assert moves
    assert all('"tokens":0' in line.replace(" ", "") for line in moves)
    await tier.settled(2 * SLOTS, before)
    frozen.server.send(signal.SIGCONT)
    # As its operator would: routers keep a runner out for minutes that made no progress, but not a new one.
    await frozen.runner.stop()
    await frozen.runner.start()
    assert await tier.credits() == before - 20 * SLOTS


async def test_an_answer_whose_server_stands_still_ends_with_an_error_and_costs_nothing(tier: Tier) -> None:
    before = await tier.credits()
    stream = await tier.begin(STORY, max_tokens=1500, stream=True)
    said: list[str] = []
    reading = asyncio.create_task(text_of(stream, said))
    await eventually(lambda: bool("".join(said)), 30)
    frozen = await tier.serving()
    frozen.server.send(signal.SIGSTOP)
    with pytest.raises(openai.APIError, match="made no progress"):
        async with within(SILENCE + 20):
            await reading
    await tier.settled(0, before)
    delivered = len(said)
    # It goes on, and finds that nobody listens any more.
    frozen.server.send(signal.SIGCONT)
    await frozen.runner.stop()
    await frozen.runner.start()
    answer = await tier.begin("Hello", max_tokens=4)
    assert answer.choices[0].message.content
    await tier.settled(1, before)
    assert len(said) == delivered


async def test_an_answer_whose_server_dies_ends_with_an_error_and_what_has_not_begun_moves(tier: Tier) -> None:
    before = await tier.credits()
    stream = await tier.begin(STORY, max_tokens=1500, stream=True)
    said: list[str] = []
    reading = asyncio.create_task(text_of(stream, said))
    await eventually(lambda: bool("".join(said)), 30)
    killed = await tier.serving()
    # Nothing of a whole answer has been sent while it is made: three are more than the other server runs at once.
    whole = [asyncio.create_task(tier.begin(f"{number} {STORY}", max_tokens=30)) for number in range(SLOTS + 1)]
    await eventually(lambda: _is_full(killed), 30)
    killed.server.send(signal.SIGKILL)
    with pytest.raises(openai.APIError, match="server failed"):
        async with within(20):
            await reading
    for answer in await asyncio.gather(*whole):
        assert answer.choices[0].message.content
        assert answer.usage.completion_tokens > 0
    assert len(tier.moves_from(killed)) > 0
    await tier.settled(SLOTS + 1, before)
    # From now on it is the other one, whichever is asked first.
    for number in range(4):
        assert (await tier.begin(f"{number} Hi", max_tokens=4)).choices[0].message.content
    await tier.settled(SLOTS + 5, before)
    assert (await tier.mesh.command("ledger", "audit"))["violations"] == []


def _waits_again(runner: ServiceProcess, before: int) -> bool:
    return runner.log().count('"engine_waits"') > before


async def _is_full(site: Site) -> bool:
    return f"tiermesh_runner_slots_active {SLOTS}.0" in await site.runner.metrics()


async def test_a_runner_waits_for_its_server(tier: Tier, tmp_path: Path) -> None:
    server = ServiceProcess("upstream", tmp_path, module="tests.support.openai_server")
    settings = {"engine": "upstream", "upstream_url": f"http://{server.address}", "tier": "local", "slots": "1"}
    settings |= {"catalog_file": str(tmp_path / "models.yaml"), "context": str(CONTEXT)}
    (tmp_path / "models.yaml").write_text(CATALOG)
    runner = ServiceProcess("runner", tmp_path, settings | tier.mesh.etcd_settings | tier.mesh.tls_settings("runner"))
    try:
        for _ in range(2):
            runner.spawn()
            waits = runner.log().count('"engine_waits"')
            await eventually(partial(_waits_again, runner, waits), 30)
            assert not await runner.ready()
            if waits == 0:
                # Whoever waits ends at once.
                assert await runner.stop() == 0
        await server.start()
        await eventually(runner.ready, 30)
        assert f"no server answers at http://{server.address}/v1/models" in runner.log()
    finally:
        await runner.kill()
        await server.kill()
