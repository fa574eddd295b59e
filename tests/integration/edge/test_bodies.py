"""No body costs an edge much, or another client its time, and all bodies together stay within their memory."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import httpx2
import psutil
import pytest

from tests.support.account import FundedAccount
from tests.support.body_cost import EdgeMeter
from tests.support.costly_bodies import MIB, Costly, at_random, image, named
from tests.support.deadlines import stretched
from tests.support.mesh import LocalMesh
from tests.support.raw_http import RawConnection, connect, request
from tests.support.waiting import eventually

# What one body may cost. CPU time is not stretched: it does not grow with what else the machine does.
MOST_CPU, MOST_MEMORY, MOST_DELAY = 0.5, 300 * MIB, 0.25
ACCOUNT = 60 * MIB
SETTINGS = {
    # Answers that are in progress as long as a test takes.
    "TIERMESH_RUNNER_SIMULATED_SPEED": "3",
    "TIERMESH_EDGE_ACCOUNT_BODY_MEMORY_BYTES": str(ACCOUNT),
}
IMAGE = 9 * MIB


@pytest.fixture(scope="module")
def slow_mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMesh]:
    with LocalMesh(tmp_path_factory.mktemp("bodies"), "--slots", "16", tiers=("max",), environ=SETTINGS) as mesh:
        yield mesh


def rss(mesh: LocalMesh) -> int:
    return int(psutil.Process(mesh.pids["edge"]).memory_info().rss)


def held(mesh: LocalMesh) -> float:
    """Returns what the edge says that bodies take of its memory, in bytes."""
    lines = httpx2.get(mesh.metrics["edge"]).text.splitlines()
    return float(next(line for line in lines if line.startswith("tiermesh_edge_body_bytes ")).split()[1])


@pytest.mark.parametrize("body", [*named(), *map(at_random, range(12))], ids=lambda body: f"{body.path} {body.name}")
def test_no_body_costs_much(mesh: LocalMesh, body: Costly) -> None:
    cost = EdgeMeter(mesh.base_url, mesh.unlimited_key, mesh.pids["edge"]).measure(body)
    assert (cost.cpu < MOST_CPU, cost.memory < MOST_MEMORY, cost.delay < stretched(MOST_DELAY)) == (True,) * 3, cost
    assert cost.status in {200, 400, 403, 413, 503}, cost
    assert cost.code != "internal_error"


def test_a_body_that_is_refused_is_free(mesh: LocalMesh) -> None:
    customer = FundedAccount(mesh)
    key = customer.new_key()["api_key"]
    meter = EdgeMeter(mesh.base_url, key, mesh.pids["edge"])
    refused = [body for body in named() if body.name in {"logit_bias", "tool_calls", "metadata", "token ids"}]
    assert [meter.measure(body).status for body in refused] == [400] * 4
    balance = mesh.command_now("balance", customer.account)
    assert (balance["available"], balance["held"]) == (1000, 0)


@pytest.fixture(scope="module")
def keys(slow_mesh: LocalMesh) -> list[str]:
    """The keys of two accounts."""
    return [FundedAccount(slow_mesh).new_key()["api_key"] for _ in range(2)]


class Clients:
    """Chats with images of one account, each on a connection of its own that stays open as long as the stack does."""

    def __init__(self, mesh: LocalMesh, key: str, stack: AsyncExitStack) -> None:
        self.mesh = mesh
        self.key = key
        self.stack = stack

    async def send(self, size: int, *, part: float = 1.0, n: int = 1) -> RawConnection:
        """Sends a chat with an image of `size` bytes, or the first part of it."""
        body = json.loads(image(size).content) | {"stream": True, "max_tokens": 1000, "n": n, "seed": 1}
        sent = request("POST", "/v1/chat/completions", json.dumps(body).encode(), Authorization=f"Bearer {self.key}")
        connection = await self.stack.enter_async_context(connect(self.mesh.base_url))
        await connection.send(sent[: int(len(sent) * part)])
        return connection


@pytest.fixture
async def clients(slow_mesh: LocalMesh, keys: list[str]) -> AsyncIterator[Clients]:
    async with AsyncExitStack() as stack:
        yield Clients(slow_mesh, keys[0], stack)
    await eventually(lambda: held(slow_mesh) == 0)


async def status_of(connection: RawConnection) -> int:
    head = await connection.reader.readuntil(b"\r\n\r\n")
    return int(head.split()[1])


async def test_a_body_in_flight_takes_its_size_once(slow_mesh: LocalMesh, clients: Clients) -> None:
    before = rss(slow_mesh)
    for n in (1, 4, 1, 1, 1, 1):
        assert await status_of(await clients.send(IMAGE, n=n)) == 200
    assert 6 * IMAGE * 0.7 < held(slow_mesh) < 6 * IMAGE
    # The copies that choices are sent as are gone once they have been sent.
    await eventually(lambda: rss(slow_mesh) - before < 1.5 * 6 * IMAGE)


async def test_what_is_not_needed_any_more_is_given_back(slow_mesh: LocalMesh, keys: list[str]) -> None:
    sizes = []
    for _ in range(6):
        async with AsyncExitStack() as stack:
            clients = Clients(slow_mesh, keys[0], stack)
            for _ in range(3):
                assert await status_of(await clients.send(IMAGE)) == 200
        await eventually(lambda: held(slow_mesh) == 0)
        sizes.append(rss(slow_mesh))
    # The allocator may keep some free memory for the next bodies, now more, now less. What is lost would add up.
    assert min(sizes[3:]) - max(sizes[:3]) < IMAGE


async def test_unfinished_bodies_of_one_account_are_bounded(
    slow_mesh: LocalMesh, keys: list[str], clients: Clients
) -> None:
    size, before = 18 * MIB, rss(slow_mesh)
    for _ in range(3):
        await clients.send(size, part=0.98)
    await eventually(lambda: held(slow_mesh) > 2.9 * size)
    refused = await clients.send(size, part=0.5)
    answer = await refused.response()
    assert (answer.status, answer.json()["error"]["code"]) == (503, "overloaded")
    assert int(answer.headers["retry-after"]) >= 1
    assert "Wait until some have ended" in answer.json()["error"]["message"]
    assert rss(slow_mesh) - before < 1.5 * ACCOUNT
    async with AsyncExitStack() as stack:
        assert await status_of(await Clients(slow_mesh, keys[1], stack).send(IMAGE)) == 200
