"""What is counted is what happened."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.observability.load import PROMPT, Client
from tests.observability.observed import Observed
from tests.support.account import FundedAccount
from tests.support.deadlines import stretched

MODEL = "tiermesh-pro"
Growth = Callable[..., float]


def value(text: str, name: str, labels: dict[str, str]) -> float:
    """Returns the sum of the samples that have these labels."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


@pytest.fixture
def growth(observed: Observed) -> Growth:
    """Tells by how much a metric of a process has grown since the test began."""
    before = {name: httpx2.get(url).text for name, url in observed.mesh.metrics.items()}

    def grown(process: str, name: str, **labels: str) -> float:
        now = httpx2.get(observed.mesh.metrics[process]).text
        return value(now, name, labels) - value(before[process], name, labels)

    return grown


async def test_a_stream_is_timed_by_its_tokens(observed: Observed, growth: Growth) -> None:
    assert await observed.client.ask(stream=True, max_tokens=12) == 200
    assert growth("edge", "tiermesh_edge_requests_total", route="chat", model=MODEL, status="200") == 1
    assert growth("edge", "tiermesh_edge_time_to_first_token_seconds_count", model=MODEL) == 1
    assert growth("edge", "tiermesh_edge_time_per_output_token_seconds_count", model=MODEL) == 1
    # The engine makes a token every 20 ms; machines are busy, but not so much.
    assert 0.01 < growth("edge", "tiermesh_edge_time_per_output_token_seconds_sum") < 0.2
    assert 0.01 < growth("runner-pro", "tiermesh_runner_time_per_output_token_seconds_sum") < 0.2
    assert growth("edge", "tiermesh_edge_tokens_total", model=MODEL, kind="completion") == 12
    assert growth("runner-pro", "tiermesh_runner_tokens_total", kind="completion") == 12


async def test_the_first_token_of_what_comes_whole_is_timed_too(observed: Observed, growth: Growth) -> None:
    assert await observed.client.ask(max_tokens=12) == 200
    assert growth("edge", "tiermesh_edge_time_to_first_token_seconds_count", model=MODEL) == 1
    # Twelve tokens, one every 20 ms, have followed it.
    whole = growth("edge", "tiermesh_edge_request_seconds_sum", route="chat")
    assert growth("edge", "tiermesh_edge_time_to_first_token_seconds_sum", model=MODEL) < whole - 0.1
    assert growth("edge", "tiermesh_edge_time_per_output_token_seconds_count", model=MODEL) == 1
    assert growth("runner-pro", "tiermesh_runner_time_to_first_step_seconds_count") == 1
    assert growth("edge", "tiermesh_edge_tokens_total", model=MODEL, kind="completion") == 12


async def test_waiting_for_a_slot_is_no_overhead(observed: Observed, growth: Growth) -> None:
    # Four run at once, for about a second; so the last ones wait for two.
    assert await asyncio.gather(*(observed.client.ask(max_tokens=50) for _ in range(12))) == [200] * 12
    waited = growth("router", "tiermesh_router_queue_wait_seconds_sum", tier="pro")
    assert waited > 4
    assert growth("edge", "tiermesh_edge_overhead_seconds_count") == 12
    assert growth("edge", "tiermesh_edge_overhead_seconds_sum") < waited / 2
    stages = {
        stage: growth("edge", "tiermesh_edge_stage_seconds_sum", stage=stage)
        for stage in ("authenticate", "place", "reserve", "settle")
    }
    assert all(stages.values())
    # What is placed while its price is held counts once.
    together = min(stages["place"], stages["reserve"])
    overhead, each = growth("edge", "tiermesh_edge_overhead_seconds_sum"), sum(stages.values())
    assert (each - together) * 0.99 <= overhead <= each * 1.01


async def test_bytes_of_streams_are_counted(observed: Observed, growth: Growth) -> None:
    body = {"model": MODEL, "messages": PROMPT, "max_tokens": 20, "stream": True}
    headers = {"Authorization": f"Bearer {observed.mesh.unlimited_key}"}
    async with httpx2.AsyncClient(timeout=stretched(30)) as http:
        response = await http.post(observed.mesh.base_url + "/chat/completions", json=body, headers=headers)
    received = growth("edge", "tiermesh_edge_received_bytes_total", route="chat")
    sent = growth("edge", "tiermesh_edge_sent_bytes_total", route="chat")
    assert received == len(response.request.content)
    # Headers and the marks of chunks come on top.
    assert len(response.content) <= sent < 2 * len(response.content) + 1000


async def test_each_refusal_has_its_reason(observed: Observed, growth: Growth) -> None:
    hurried = FundedAccount(observed.mesh)
    limited = Client(observed.mesh, hurried.new_key("--rpm", "1")["api_key"])
    assert await observed.client.ask(n=0) == 400
    assert await Client(observed.mesh, "sk-unknown").ask() == 401
    assert await limited.ask(max_tokens=1) == 200
    assert await limited.ask(max_tokens=1) == 429
    reasons = "tiermesh_edge_rejections_total"
    assert [growth("edge", reasons, reason=each) for each in ("bad_request", "unauthenticated", "rate_limited")] == [
        1
    ] * 3
    assert growth("auth", "tiermesh_auth_authentications_total", result="rate_limited") == 1
