"""The header Idempotency-Key through a real mesh with two edges: a repeated request is charged at most once."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from tests.support.deadlines import stretched, within
from tests.support.mesh import LocalMesh
from tests.support.process import ServiceProcess
from tests.support.waiting import eventually

PRICE = 10
PROMPT: Any = [{"role": "user", "content": "Tell me about the bridge over the river"}]
# Slow enough to repeat a request while it runs; one slot, so that a repeat cannot be told anything by waiting for one.
SETTINGS = {
    "TIERMESH_RUNNER_SIMULATED_PREFILL_SPEED": "40",
    "TIERMESH_RUNNER_SIMULATED_SPEED": "50",
    "TIERMESH_RUNNER_SLOTS": "1",
}


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMesh]:
    with LocalMesh(tmp_path_factory.mktemp("idempotency"), environ=SETTINGS) as mesh:
        yield mesh


@pytest.fixture
async def second_edge(mesh: LocalMesh, tmp_path: Path) -> AsyncIterator[str]:
    """The base URL of another edge of the same mesh."""
    settings = {f"{name}_addresses": mesh.addresses[name] for name in ("auth", "billing", "router")}
    async with ServiceProcess("edge", tmp_path, settings) as edge:
        yield f"http://{edge.address}/v1"


@pytest.fixture
async def customer(mesh: LocalMesh) -> AsyncIterator[Customer]:
    async with Customer(mesh) as customer:
        yield customer


class Customer:
    """An account of its own with 1,000 credits, and one idempotency key."""

    def __init__(self, mesh: LocalMesh) -> None:
        self.mesh = mesh
        self.account = mesh.command_now("account", "create", "customer")["id"]
        mesh.command_now("credits", "grant", self.account, "1000")
        self.api_key = mesh.command_now("key", "create", self.account, "--rpm", "0")["api_key"]
        self.idempotency_key = str(uuid.uuid4())
        self.http = httpx2.AsyncClient(headers={"Authorization": f"Bearer {self.api_key}"}, timeout=stretched(30))

    async def ask(self, base_url: str = "", *, key: str | None = None, **parameters: Any) -> httpx2.Response:
        body = {"model": "tiermesh-pro", "messages": PROMPT, "max_tokens": 3} | parameters
        url = (base_url or self.mesh.base_url) + "/chat/completions"
        return await self.http.post(url, json=body, headers={"Idempotency-Key": key or self.idempotency_key})

    async def get(self, path: str) -> dict[str, Any]:
        content: dict[str, Any] = (await self.http.get(f"{self.mesh.base_url}{path}")).raise_for_status().json()
        return content

    async def spent(self) -> int:
        balance = await self.get("/balance")
        return 1000 - int(balance["credits"]) - int(balance["held"])

    async def settled(self, spent: int) -> None:
        """Waits until nothing is held, then checks what was spent."""

        async def nothing_held() -> bool:
            return bool((await self.get("/balance"))["held"] == 0)

        await eventually(nothing_held)
        assert await self.spent() == spent
        assert self.mesh.command_now("ledger", "audit")["violations"] == []

    async def __aenter__(self) -> Customer:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()


async def test_a_repeat_of_a_charged_request_is_refused_at_every_edge(customer: Customer, second_edge: str) -> None:
    first = (await customer.ask()).raise_for_status()
    request_id = first.headers["x-request-id"]
    # Another body changes nothing: nothing of the first one was kept to compare it with.
    for repeat in await customer.ask(), await customer.ask(second_edge), await customer.ask(max_tokens=4):
        error = repeat.json()["error"]
        assert (repeat.status_code, error["code"], error["param"]) == (409, "conflict", "Idempotency-Key")
        assert f"GET /v1/requests/{request_id}" in error["message"]
        # OpenAI's SDKs would try again in vain.
        assert repeat.headers["x-should-retry"] == "false"
    assert (await customer.ask(key="another")).status_code == 200
    await customer.settled(2 * PRICE)


async def test_the_promise_outlives_a_restart_of_billing(customer: Customer) -> None:
    (await customer.ask()).raise_for_status()
    customer.mesh.kill("billing")
    await customer.mesh.until_serving()
    assert (await customer.ask()).status_code == 409
    await customer.settled(PRICE)


async def test_a_repeat_while_the_first_runs_is_told_so_at_once(customer: Customer, second_edge: str) -> None:
    first = asyncio.create_task(customer.ask(max_tokens=200))
    await eventually(lambda: held(customer))
    for base_url in "", second_edge:
        # The first one has the only slot for four seconds; none of it was waited for.
        async with within(2):
            repeat = await customer.ask(base_url)
        assert (repeat.status_code, repeat.headers["retry-after"]) == (409, "1")
        assert "x-should-retry" not in repeat.headers
        assert "still running" in repeat.json()["error"]["message"]
    assert (await first).status_code == 200
    await customer.settled(PRICE)


async def held(customer: Customer) -> bool:
    return bool((await customer.get("/balance"))["held"])


async def test_of_two_at_once_at_two_edges_exactly_one_runs(customer: Customer, second_edge: str) -> None:
    for turn in range(5):
        asking = (customer.ask(base_url, key=f"turn {turn}") for base_url in ("", second_edge, "", second_edge))
        statuses = sorted(response.status_code for response in await asyncio.gather(*asking))
        assert statuses == [200, 409, 409, 409]
    await customer.settled(5 * PRICE)


async def test_a_free_end_gives_the_key_back(customer: Customer) -> None:
    # Refused before anything was held, then left before the first token.
    assert (await customer.ask(model="tiermesh-max")).status_code == 503
    leaving = asyncio.create_task(customer.ask(messages=[{"role": "user", "content": "word " * 1000}]))
    await eventually(lambda: held(customer))
    leaving.cancel()
    await customer.settled(0)
    assert (await customer.ask()).status_code == 200
    assert (await customer.ask()).status_code == 409
    await customer.settled(PRICE)


async def test_without_a_free_runner_the_key_is_given_back_and_nothing_is_held(customer: Customer) -> None:
    assert (await customer.ask(model="tiermesh-max")).status_code == 503
    await customer.settled(0)


@pytest.mark.parametrize("key", ["k" * 256, "tab\there"])
async def test_what_is_no_key_is_a_bad_request(customer: Customer, key: str) -> None:
    response = await customer.ask(key=key)
    assert (response.status_code, response.json()["error"]["param"]) == (400, "Idempotency-Key")
    await customer.settled(0)


async def test_openai_s_client_sends_it_and_stops_repeating_in_vain(customer: Customer) -> None:
    client = openai.AsyncOpenAI(base_url=customer.mesh.base_url, api_key=customer.api_key, max_retries=5)
    parameters: Any = {"model": "tiermesh-pro", "messages": PROMPT, "max_tokens": 3}
    headers = {"Idempotency-Key": customer.idempotency_key}
    await client.chat.completions.create(**parameters, extra_headers=headers)
    with pytest.raises(openai.ConflictError) as raised:
        await client.chat.completions.create(**parameters, extra_headers=headers)
    assert raised.value.code == "conflict"
    # A stream is the same request.
    with pytest.raises(openai.ConflictError):
        await client.chat.completions.create(**parameters, stream=True, extra_headers=headers)
    await client.close()
    await customer.settled(PRICE)
