"""The table of DESIGN §2, row by row: what the client sees and what it pays."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest
from openai.types.chat import ChatCompletionChunk

from services.common.receipts.finding import covered
from tests.support.account import FundedAccount
from tests.support.deadlines import stretched
from tests.support.mesh import LocalMesh
from tests.support.waiting import eventually

PRICE = 10
QUESTION = "Tell me about the bridge over the river"
PROMPT: Any = [{"role": "user", "content": QUESTION}]
# The endpoints that generate text, and what each is asked.
ASKED: dict[str, dict[str, Any]] = {
    "chat/completions": {"messages": PROMPT, "max_tokens": 500},
    "completions": {"prompt": QUESTION, "max_tokens": 500},
    "responses": {"input": QUESTION, "max_output_tokens": 500},
    "messages": {"messages": PROMPT, "max_tokens": 500},
}
# More than what opens a stream of any of them.
LINES = 12
# Slow enough to leave in the middle of: the prompt takes about half a second and each token 20 ms.
SETTINGS = {
    "TIERMESH_RUNNER_SIMULATED_PREFILL_SPEED": "20",
    "TIERMESH_RUNNER_SIMULATED_SPEED": "50",
    "TIERMESH_BILLING_HOLD_TTL_SECONDS": "3",
    "TIERMESH_BILLING_SWEEP_SECONDS": "0.5",
    "TIERMESH_EDGE_DRAIN_SECONDS": "0.5",
}


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMesh]:
    with LocalMesh(tmp_path_factory.mktemp("charges"), environ=SETTINGS) as mesh:
        yield mesh


@pytest.fixture
def customer(mesh: LocalMesh) -> Customer:
    return Customer(mesh)


class Customer(FundedAccount):
    """An account of its own with 1,000 credits and a key without a limit."""

    def __init__(self, mesh: LocalMesh) -> None:
        super().__init__(mesh)
        self.key = self.new_key()["api_key"]
        self.client = openai.OpenAI(base_url=mesh.base_url, api_key=self.key, max_retries=0)

    def balance(self) -> tuple[int, int]:
        """Returns what was spent and what is held."""
        balance = self.mesh.command_now("balance", self.account)
        return 1000 - balance["available"] - balance["held"], balance["held"]

    async def settled(self, spent: int) -> None:
        """Waits until nothing is held, then checks what was spent."""
        await eventually(lambda: self.balance()[1] == 0)
        assert self.balance() == (spent, 0)
        assert self.mesh.command_now("ledger", "audit")["violations"] == []

    def stream(self, **parameters: Any) -> Iterator[ChatCompletionChunk]:
        return iter(
            self.client.chat.completions.create(model="tiermesh-pro", messages=PROMPT, stream=True, **parameters)
        )

    async def ask_whole(self, **parameters: Any) -> httpx2.Response:
        """Asks for an answer that is not streamed."""
        body = {"model": "tiermesh-pro", "messages": PROMPT, **parameters}
        headers = {"Authorization": f"Bearer {self.key}"}
        async with httpx2.AsyncClient(timeout=60) as http:
            return await http.post(f"{self.mesh.base_url}/chat/completions", json=body, headers=headers)

    def leave(self, endpoint: str, *, lines: int) -> float:
        """Starts a stream, leaves after so many lines, and returns how long the engine went on, in seconds."""
        body = {"model": "tiermesh-pro", "stream": True, **ASKED[endpoint]}
        headers = {"Authorization": f"Bearer {self.key}"}
        with httpx2.Client(timeout=0.3 if lines == 0 else stretched(20)) as http:
            try:
                with http.stream("POST", f"{self.mesh.base_url}/{endpoint}", json=body, headers=headers) as response:
                    received = (line for line in response.iter_lines() if line)
                    for _ in range(lines):
                        next(received)
            except httpx2.TimeoutException:
                assert lines == 0
        left = time.monotonic()
        while active_slots(self.mesh):
            assert time.monotonic() - left < stretched(5)
        return time.monotonic() - left


def waits_for_slots(mesh: LocalMesh) -> int:
    """Returns how many requests have waited for a slot."""
    found = re.findall(
        r"^tiermesh_router_queue_wait_seconds_count\S* (\S+)$", httpx2.get(mesh.metrics["router"]).text, re.MULTILINE
    )
    return sum(int(float(count)) for count in found)


def active_slots(mesh: LocalMesh) -> int:
    for line in httpx2.get(mesh.metrics["runner-pro"]).text.splitlines():
        if line.startswith("tiermesh_runner_slots_active "):
            return int(float(line.split()[1]))
    raise AssertionError("the runner does not tell its active slots")


async def test_a_finished_stream_costs_the_price_once(customer: Customer) -> None:
    chunks = list(customer.stream(max_tokens=5))
    assert chunks[-1].choices[0].finish_reason == "length"
    # The charge was durable before the end was sent: no waiting here.
    assert customer.balance() == (PRICE, 0)
    await customer.settled(PRICE)


async def test_k_finished_answers_cost_k_times_the_price(customer: Customer) -> None:
    for _ in range(3):
        completion = customer.client.chat.completions.create(model="tiermesh-pro", messages=PROMPT, max_tokens=2)
        assert completion.choices[0].message.content
    assert customer.balance() == (3 * PRICE, 0)


async def test_requests_that_cannot_be_paid_for_keep_no_slot(customer: Customer) -> None:
    poor = customer.mesh.command_now("account", "create", "poor")["id"]
    key = customer.mesh.command_now("key", "create", poor, "--rpm", "0")["api_key"]
    body = {"model": "tiermesh-pro", "messages": PROMPT, "max_tokens": 2}

    async def nobody_waits() -> bool:
        """Whether a request gets a slot at once after so many that were refused; other work may delay a message."""
        before = waits_for_slots(customer.mesh)
        async with httpx2.AsyncClient(timeout=60, headers={"Authorization": f"Bearer {key}"}) as http:
            for _ in range(8):
                refused = await http.post(f"{customer.mesh.base_url}/chat/completions", json=body)
                assert refused.status_code == 402
        assert (await customer.ask_whole(max_tokens=2)).status_code == 200
        return waits_for_slots(customer.mesh) == before

    await eventually(nobody_waits)
    assert customer.mesh.command_now("balance", poor) == {"account_id": poor, "available": 0, "held": 0}


async def test_several_choices_are_one_request_with_one_price(customer: Customer) -> None:
    completion = customer.client.chat.completions.create(model="tiermesh-pro", messages=PROMPT, max_tokens=2, n=3)
    assert len(completion.choices) == 3
    assert customer.balance() == (PRICE, 0)


async def test_an_answer_without_output_is_free(customer: Customer) -> None:
    completion = customer.client.chat.completions.create(model="tiermesh-pro", messages=PROMPT, max_tokens=1)
    first = (completion.choices[0].message.content or "").strip()
    empty = customer.client.chat.completions.create(model="tiermesh-pro", messages=PROMPT, max_tokens=9, stop=[first])
    assert empty.choices[0].message.content == ""
    assert empty.choices[0].finish_reason == "stop"
    await customer.settled(PRICE)


@pytest.mark.parametrize("endpoint", ASKED)
async def test_leaving_before_the_first_token_is_free_and_stops_the_engine(customer: Customer, endpoint: str) -> None:
    assert customer.leave(endpoint, lines=0) < stretched(0.25)
    await customer.settled(0)


@pytest.mark.parametrize("endpoint", ASKED)
async def test_leaving_after_the_first_token_costs_the_price_and_stops_the_engine(
    customer: Customer, endpoint: str
) -> None:
    assert customer.leave(endpoint, lines=LINES) < stretched(0.25)
    await customer.settled(PRICE)


async def test_a_runner_that_dies_ends_the_stream_with_an_error_and_no_charge(customer: Customer) -> None:
    stream = customer.stream(max_tokens=500)
    next(stream)
    customer.mesh.kill("runner-pro")
    rest: list[ChatCompletionChunk] = []
    with pytest.raises(openai.APIError):
        rest.extend(stream)
    assert all(choice.finish_reason is None for chunk in rest for choice in chunk.choices)
    await customer.settled(0)
    await customer.mesh.until_serving()


async def test_an_edge_that_stops_ends_what_it_must_cut_off_and_charges_nothing(customer: Customer) -> None:
    stream = customer.stream(max_tokens=500)
    next(stream)
    whole = asyncio.create_task(customer.ask_whole(max_tokens=500))
    await eventually(lambda: active_slots(customer.mesh) == 2)
    edge = customer.mesh.pids["edge"]
    # Longer than the edge may drain: it must end both by itself.
    os.kill(edge, signal.SIGTERM)
    with pytest.raises(openai.APIError) as caught:
        await asyncio.to_thread(list, stream)
    assert "restarted" in str(caught.value)
    response = await whole
    assert response.status_code == 503
    assert response.headers["retry-after"]
    assert response.json()["error"]["message"] == "The service is being restarted; try again shortly."
    await customer.mesh.until_restarted("edge", edge)
    await customer.settled(0)
    await customer.mesh.until_serving()


async def test_an_edge_that_dies_leaves_a_hold_that_expires(customer: Customer) -> None:
    stream = customer.stream(max_tokens=500)
    next(stream)
    assert customer.balance() == (0, PRICE)
    customer.mesh.kill("edge")
    with pytest.raises((openai.APIError, httpx2.TransportError)):
        list(stream)
    await customer.settled(0)
    await customer.mesh.until_serving()


@pytest.mark.parametrize("service", ["auth", "billing", "router", "etcd"])
async def test_a_service_that_restarts_meanwhile_changes_nothing(customer: Customer, service: str) -> None:
    stream = customer.stream(max_tokens=60)
    next(stream)
    customer.mesh.kill(service)
    chunks = list(stream)
    assert chunks[-1].choices[0].finish_reason == "length"
    await customer.mesh.until_serving()
    await customer.settled(PRICE)


async def test_what_was_refused_costs_nothing(customer: Customer) -> None:
    with pytest.raises(openai.BadRequestError):
        customer.client.chat.completions.create(model="tiermesh-pro", messages=PROMPT, temperature=9)
    with pytest.raises(openai.NotFoundError):
        customer.client.chat.completions.create(model="nothing", messages=PROMPT)
    with pytest.raises(openai.InternalServerError):
        customer.client.chat.completions.create(model="tiermesh-max", messages=PROMPT)
    assert customer.balance() == (0, 0)


async def test_the_price_is_in_the_usage_chunk(customer: Customer) -> None:
    headers = {"Authorization": f"Bearer {customer.key}"}
    body = {"model": "tiermesh-pro", "messages": PROMPT, "stream": True, "max_tokens": 2,
            "stream_options": {"include_usage": True}}  # fmt: skip
    content = httpx2.post(
        customer.mesh.base_url + "/chat/completions", json=body, headers=headers, timeout=stretched(20)
    ).content
    events = [line.removeprefix("data: ") for line in covered(content).decode().splitlines() if line]
    assert events[-1] == "[DONE]"
    assert json.loads(events[-2])["tiermesh"] == {"credits_charged": PRICE, "credits_remaining": 990}
