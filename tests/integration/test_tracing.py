"""One request is one trace across all processes, sent by OTLP to a real receiver, with nothing private in it."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager

import httpx2
import pytest

from services.common.receipts.finding import covered
from tests.support.deadlines import stretched
from tests.support.mesh import LocalMesh
from tests.support.otlp_collector import OtlpCollector, ReceivedSpan
from tests.support.waiting import eventually

SERVICES = ("edge", "auth", "billing", "router", "runner")
PROMPT = "canary-prompt-5b1f"
# What each span of a paid request is called, by service, with its parent's name.
PARENTS = {
    ("tiermesh-edge", "authenticate"): "POST /v1/chat/completions",
    ("tiermesh-edge", "place"): "POST /v1/chat/completions",
    ("tiermesh-edge", "reserve"): "POST /v1/chat/completions",
    ("tiermesh-edge", "generate"): "POST /v1/chat/completions",
    ("tiermesh-edge", "settle"): "POST /v1/chat/completions",
    ("tiermesh-auth", "auth.authenticate"): "authenticate",
    ("tiermesh-router", "route"): "place",
    ("tiermesh-runner", "generate"): "generate",
}


@pytest.fixture(scope="module")
def collector() -> Iterator[OtlpCollector]:
    with OtlpCollector() as collector:
        yield collector


@pytest.fixture(scope="module")
def mesh(collector: OtlpCollector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMesh]:
    tracing = {f"TIERMESH_{service.upper()}_TRACING": "otlp" for service in SERVICES}
    environ = {**tracing, **collector.environ, "TIERMESH_RUNNER_SIMULATED_SPEED": "100"}
    with LocalMesh(tmp_path_factory.mktemp("mesh"), environ=environ) as mesh:
        yield mesh


class Caller:
    """What a traced client sends: its own span, which is sampled or not."""

    def __init__(self, *, sampled: bool = True) -> None:
        self.trace_id, self.span_id = secrets.token_hex(16), secrets.token_hex(8)
        self.headers = {
            "traceparent": f"00-{self.trace_id}-{self.span_id}-{'01' if sampled else '00'}",
            "tracestate": "vendor=value",
        }


async def ask(mesh: LocalMesh, caller: Caller, *, stream: bool = True, key: str = "") -> httpx2.Response:
    """Asks for an answer of five tokens and reads it to its end."""
    messages = [{"role": "user", "content": PROMPT}]
    body = {"model": "tiermesh-pro", "messages": messages, "max_tokens": 5, "stream": stream}
    headers = {"Authorization": f"Bearer {key or mesh.unlimited_key}", **caller.headers}
    async with httpx2.AsyncClient(timeout=stretched(20.0)) as http:
        return await http.post(mesh.base_url + "/chat/completions", json=body, headers=headers)


async def spans_of(collector: OtlpCollector, caller: Caller, count: int) -> list[ReceivedSpan]:
    """Waits for the spans of a caller's trace."""
    await eventually(lambda: len(collector.of_trace(caller.trace_id)) >= count, 20.0)
    return collector.of_trace(caller.trace_id)


async def test_a_streamed_request_is_one_trace(mesh: LocalMesh, collector: OtlpCollector) -> None:
    caller = Caller()
    response = await ask(mesh, caller)
    assert covered(response.content).endswith(b"data: [DONE]\n\n")
    spans = await spans_of(collector, caller, 11)
    by_id = {span.span_id: span for span in spans}
    (root,) = [span for span in spans if span.parent_id == caller.span_id]
    assert (root.service, root.name) == ("tiermesh-edge", "POST /v1/chat/completions")
    parents = {(span.service, span.name): by_id[span.parent_id].name for span in spans if span is not root}
    # Billing is asked twice.
    assert parents.pop(("tiermesh-billing", "billing.transact")) in {"reserve", "settle"}
    assert parents == PARENTS
    transacts = [span for span in spans if span.service == "tiermesh-billing"]
    assert sorted(by_id[span.parent_id].name for span in transacts) == ["reserve", "settle"]
    assert len(spans) == 11
    assert {span.trace_state for span in spans} == {"vendor=value"}
    assert not any(span.failed for span in spans)
    of_services = [root, *(span for span in spans if span.service != "tiermesh-edge")]
    assert {span.attributes["tiermesh.request_id"] for span in of_services} == {response.headers["x-request-id"]}
    check_attributes(root, spans)


def check_attributes(root: ReceivedSpan, spans: list[ReceivedSpan]) -> None:
    assert root.attributes["http.response.status_code"] == 200
    assert root.attributes["gen_ai.request.model"] == "tiermesh-pro"
    assert root.attributes["tiermesh.tier"] == "pro"
    generated, running = (
        next(span for span in spans if span.name == "generate" and span.service == service)
        for service in ("tiermesh-edge", "tiermesh-runner")
    )
    assert generated.attributes["gen_ai.operation.name"] == "chat"
    assert generated.attributes["gen_ai.usage.output_tokens"] == 5
    assert generated.attributes["tiermesh.outcome"] == "completed"
    assert generated.events == ["first_token"]
    assert running.attributes["gen_ai.usage.output_tokens"] == 5
    assert running.attributes["gen_ai.usage.input_tokens"] == generated.attributes["gen_ai.usage.input_tokens"]
    assert running.events == ["first_reply"]
    (routed,) = [span for span in spans if span.name == "route"]
    assert routed.attributes["tiermesh.runner.id"] == generated.attributes["tiermesh.runner.id"] != ""


async def test_a_refused_request_is_a_trace_too(mesh: LocalMesh, collector: OtlpCollector) -> None:
    caller = Caller()
    assert (await ask(mesh, caller, key="sk-tiermesh-unknown")).status_code == 401
    spans = await spans_of(collector, caller, 3)
    (answered,) = [span for span in spans if span.service == "tiermesh-auth"]
    assert answered.failed
    assert answered.attributes["error.type"] == "UNAUTHENTICATED"
    (root,) = [span for span in spans if span.parent_id == caller.span_id]
    assert root.attributes["http.response.status_code"] == 401
    # By the conventions, a server has not failed if its client was wrong.
    assert not root.failed


async def test_a_client_that_leaves_ends_its_trace(mesh: LocalMesh, collector: OtlpCollector) -> None:
    caller = Caller()
    async with httpx2.AsyncClient(timeout=stretched(20.0)) as http, leaving(http, mesh, caller) as response:
        async for line in response.aiter_lines():
            if line.startswith("data: "):
                break
    # The charge is settled without the client, and so outside of its trace.
    spans = {(span.service, span.name): span for span in await spans_of(collector, caller, 9)}
    root = spans["tiermesh-edge", "POST /v1/chat/completions"]
    assert root.failed
    assert root.attributes["http.response.status_code"] == 499
    assert spans["tiermesh-edge", "generate"].attributes["tiermesh.outcome"] == "client_left_late"
    assert spans["tiermesh-runner", "generate"].attributes["error.type"] == "cancelled"


def leaving(http: httpx2.AsyncClient, mesh: LocalMesh, caller: Caller) -> AbstractAsyncContextManager[httpx2.Response]:
    """Asks for an answer that takes longer than anyone waits."""
    body = {"model": "tiermesh-pro", "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 2000}
    headers = {"Authorization": f"Bearer {mesh.unlimited_key}", **caller.headers}
    return http.stream("POST", mesh.base_url + "/chat/completions", json={**body, "stream": True}, headers=headers)


async def test_what_the_client_has_not_sampled_is_not_sent(mesh: LocalMesh, collector: OtlpCollector) -> None:
    unsampled, sampled = Caller(sampled=False), Caller()
    assert (await ask(mesh, unsampled)).status_code == 200
    assert (await ask(mesh, sampled)).status_code == 200
    # Each process sends in order, so what was to come of the first request would be here.
    await spans_of(collector, sampled, 11)
    assert collector.of_trace(unsampled.trace_id) == []


async def test_nothing_private_is_sent(mesh: LocalMesh, collector: OtlpCollector) -> None:
    caller = Caller()
    response = await ask(mesh, caller, stream=False)
    answer = response.json()["choices"][0]["message"]["content"]
    await spans_of(collector, caller, 11)
    everything = b"".join(collector.raw)
    assert caller.trace_id in {span.trace_id for span in collector.spans}
    keys = await mesh.command("key", "list")
    for private in (PROMPT, answer, mesh.unlimited_key, mesh.account_id, *(key["id"] for key in keys)):
        assert private.encode() not in everything


async def test_logs_name_request_and_trace(mesh: LocalMesh) -> None:
    caller = Caller()
    request_id = (await ask(mesh, caller)).headers["x-request-id"]

    def services() -> set[str]:
        logs = (path.read_text() for path in mesh.state_dir.glob("logs/*.log"))
        lines = [line for log in logs for line in log.splitlines() if request_id in line and caller.trace_id in line]
        return {str(json.loads(line)["service"]) for line in lines}

    await eventually(lambda: services() == set(SERVICES))


async def test_a_collector_that_is_away_hinders_nobody(mesh: LocalMesh, collector: OtlpCollector) -> None:
    await asyncio.to_thread(collector.stop)
    try:
        responses = await asyncio.gather(*(ask(mesh, Caller()) for _ in range(20)))
        assert {response.status_code for response in responses} == {200}
    finally:
        collector.start()
    # Sending begins again by itself.
    caller = Caller()
    assert (await ask(mesh, caller)).status_code == 200
    await spans_of(collector, caller, 11)
