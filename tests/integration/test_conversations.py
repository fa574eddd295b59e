"""The turns of a conversation are served where its beginning was read, on a mesh with three runners."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from tests.support.forked_service import ForkedServiceProcess
from tests.support.mesh import LocalMesh
from tests.support.process import ServiceProcess
from tests.support.waiting import eventually

SPEED = "400"
WARM = 'tiermesh_router_placements_total{reason="warm_prefix"}'
ACTIVE = 'tiermesh_router_slots_active{tier="pro"}'
# More than it ever takes until each of three runners has been drawn.
MOST_CONVERSATIONS = 100


class Runners:
    """The mesh, and two runners beside its own that a test may kill."""

    def __init__(self, mesh: LocalMesh, others: dict[str, ServiceProcess], client: openai.AsyncOpenAI) -> None:
        self.mesh = mesh
        self.others = others
        self.client = client
        self._topics = itertools.count()

    def new_conversation(self) -> Conversation:
        return Conversation(self, f"Tell me about bridge number {next(self._topics)}")

    def router_says(self, series: str) -> float:
        for line in httpx2.get(self.mesh.metrics["router"]).text.splitlines():
            if line.startswith(f"{series} "):
                return float(line.rpartition(" ")[2])
        raise AssertionError(f"the router does not tell {series}")

    async def until_idle(self) -> None:
        """Waits until the router has heard of the end of every turn."""
        await eventually(lambda: self.router_says(ACTIVE) == 0)

    def of_request(self, request_id: str) -> str:
        """Returns the runner that a paid request was served by."""
        with closing(sqlite3.connect(self.mesh.state_dir / "billing.db")) as ledger:
            query = "SELECT runner_id FROM holds WHERE request_id = ?"
            [(runner,)] = ledger.execute(query, (request_id,)).fetchall()
        return str(runner)


class Conversation:
    """A client that sends all earlier messages with each new one."""

    def __init__(self, runners: Runners, topic: str) -> None:
        self._runners = runners
        self._messages: list[Any] = [{"role": "user", "content": topic}]

    async def turn(self) -> str:
        """Takes a turn and returns the runner that served it."""
        raw = await self._runners.client.chat.completions.with_raw_response.create(
            model="tiermesh-pro", messages=self._messages, max_tokens=20
        )
        answer = raw.parse().choices[0].message.content
        assert answer
        self._messages += [{"role": "assistant", "content": answer}, {"role": "user", "content": "And then?"}]
        return self._runners.of_request(raw.headers["x-request-id"])


@pytest.fixture
async def runners(tmp_path: Path) -> AsyncIterator[Runners]:
    async with AsyncExitStack() as stack:
        mesh = await stack.enter_async_context(LocalMesh(tmp_path, environ={"TIERMESH_RUNNER_SIMULATED_SPEED": SPEED}))
        fields = {"engine": "simulated", "simulated_speed": SPEED, **mesh.etcd_settings}
        others: dict[str, ServiceProcess] = {}
        for name in ("second", "third"):
            process = ForkedServiceProcess("runner", tmp_path, {**fields, **mesh.tls_settings("runner"), "id": name})
            others[name] = await stack.enter_async_context(process)
        key = mesh.unlimited_key
        client = await stack.enter_async_context(openai.AsyncOpenAI(base_url=mesh.base_url, api_key=key, max_retries=0))
        await eventually(lambda: [each["state"] for each in mesh.command_now("runners")] == ["ready"] * 3)
        runners = Runners(mesh, others, client)
        probe = runners.new_conversation()

        async def is_followed() -> bool:
            await probe.turn()
            return runners.router_says(WARM) > 0

        # The edge, too, must have heard that there is a choice.
        await eventually(is_followed)
        yield runners


async def one_at_each(runners: Runners) -> dict[str, Conversation]:
    """Begins conversations until each runner has one; returns those by runner."""
    found: dict[str, Conversation] = {}
    for _ in range(MOST_CONVERSATIONS):
        conversation = runners.new_conversation()
        found.setdefault(await conversation.turn(), conversation)
        if len(found) == 3:
            return found
    raise AssertionError(f"only {list(found)} were drawn")


async def test_conversations_side_by_side_stay_at_their_runners(runners: Runners) -> None:
    conversations = await one_at_each(runners)
    before = runners.router_says(WARM)
    for _ in range(5):
        await runners.until_idle()
        served = await asyncio.gather(*(conversation.turn() for conversation in conversations.values()))
        assert served == list(conversations)
    assert runners.router_says(WARM) - before == 5 * 3


async def test_a_conversation_whose_runner_is_killed_goes_on_and_stays_elsewhere(runners: Runners) -> None:
    conversation = (await one_at_each(runners))["second"]
    await runners.others["second"].kill()
    moved = await conversation.turn()
    assert moved != "second"
    for _ in range(5):
        await runners.until_idle()
        assert await conversation.turn() == moved
