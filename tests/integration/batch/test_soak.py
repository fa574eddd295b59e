"""Everything at once, at random: whatever happens, every call ends exactly once and nothing is left over."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any

import pytest
from prometheus_client import REGISTRY

from services.common.errors import Code, MeshError
from tests.support.batch_echo import EchoClient, EchoServer, ask, echo_client
from tests.support.waiting import eventually

CALLERS = 40
CALLS_EACH = 60


@dataclass
class Outcome:
    """What became of one call."""

    text: str
    told: list[Any] = field(default_factory=list)
    cancelled_after: int | None = None

    def ended_once(self, *, retry: bool) -> bool:
        """Tells whether the call ended as it may: by its own answer, a decided error, or silence after a cancel."""
        if self.cancelled_after is not None:
            return len(self.told) == self.cancelled_after
        if len(self.told) != 1:
            return False
        (end,) = self.told
        if not isinstance(end, MeshError) and end.HasField("error"):
            # A server that is slow today has read the call after its deadline.
            end = MeshError.from_proto(end.error)
        if isinstance(end, MeshError):
            # A retried call is given up only by its deadline, which none but the held ones reach.
            return end.code in {Code.DEADLINE_EXCEEDED, Code.UNAVAILABLE} and (not retry or "hold" in self.text)
        return bool(end.account_id == self.text)


async def call_at_random(client: EchoClient, chance: random.Random, name: str) -> list[Outcome]:
    """Makes calls one after another, and gives some of them up."""
    outcomes = []
    for number in range(CALLS_EACH):
        what = chance.choice(["quick", "quick", "quick", "hold"])
        outcome = Outcome(f"{what} {name}.{number}")
        outcomes.append(outcome)
        timeout = chance.uniform(0.0, 0.2) if what == "hold" else 60.0
        call_id = client.start(ask(outcome.text), outcome.told.append, timeout)
        if chance.random() < 0.3:
            for _ in range(chance.randrange(20)):
                await asyncio.sleep(0)
            client.cancel(call_id)
            outcome.cancelled_after = len(outcome.told)
        else:
            await eventually(lambda told=outcome.told: bool(told), timeout=60.0)  # type: ignore[misc] # mypy cannot infer a loop variable's default
    return outcomes


async def restart_at_random(servers: list[EchoServer], chance: random.Random, answered: list[int]) -> None:
    """Now drains and now breaks off one server or another, and starts its successor on the same port."""
    while True:
        seen = len(answered)
        await eventually(lambda seen=seen: len(answered) >= seen + 100, timeout=60.0)  # type: ignore[misc] # mypy cannot infer a loop variable's default
        index = chance.randrange(len(servers))
        if chance.random() < 0.5:
            await servers[index].stop(0.2)
        else:
            await servers[index].break_off()
        servers[index] = counting_server(servers[index].address, answered)
        await servers[index].start()


def counting_server(address: str, answered: list[int]) -> EchoServer:
    """Returns a server that adds each frame's calls to `answered`."""
    server = EchoServer(address)
    on_calls = server.handler.on_calls

    def count_and_answer(calls: Any, stream: Any) -> None:
        answered.extend(call.id for call in calls)
        on_calls(calls, stream)

    server.handler.on_calls = count_and_answer  # type: ignore[method-assign] # wrapped to count
    return server


@pytest.mark.parametrize("retry", [True, False])
@pytest.mark.parametrize("seed", [1, 2])
async def test_every_call_ends_exactly_once(seed: int, retry: bool) -> None:
    chance = random.Random(seed)
    answered: list[int] = []
    servers = [counting_server("", answered), counting_server("", answered)]
    for server in servers:
        await server.start()
    stream = f"soak-{seed}-{retry}"
    try:
        async with echo_client(*(server.address for server in servers), name=stream, retry=retry) as client:
            restarts = asyncio.create_task(restart_at_random(servers, chance, answered))
            callers = [
                call_at_random(client, random.Random(chance.random()), f"caller {number}") for number in range(CALLERS)
            ]
            outcomes = [outcome for each in await asyncio.gather(*callers) for outcome in each]
            restarts.cancel()
            await asyncio.wait([restarts])
            assert [outcome for outcome in outcomes if not outcome.ended_once(retry=retry)] == []
            assert len(outcomes) == CALLERS * CALLS_EACH
            assert client.pending == 0
            assert not any(lane.carried or len(lane.outbox) for lane in client._lanes)
            assert REGISTRY.get_sample_value("tiermesh_batch_connects_total", {"stream": stream}) > 5  # type: ignore[operator] # None would fail here too
            # The last cancels may still be on their way.
            await eventually(lambda: not any(server.handler.held for server in servers))
    finally:
        for server in servers:
            await server.break_off()
