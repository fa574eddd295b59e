"""Whatever a body holds, the answer is a good one or a refusal in its route's format, and a refusal costs nothing."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx2
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.edge.http.errors import ErrorBody
from tests.support.account import FundedAccount
from tests.support.deadlines import stretched
from tests.support.edge_routes import edge_operations, error_formats
from tests.support.mesh import LocalMesh
from tests.support.waiting import eventually

# Every endpoint that takes JSON, with a body that it would take.
_JSON = {
    path: operation.body["application/json"]
    for (_, path), operation in edge_operations().items()
    if "application/json" in operation.body
}
BODIES: dict[str, dict[str, Any]] = {path: content.example for path, content in _JSON.items()}
TYPES = {path: content.type for path, content in _JSON.items()}
ERRORS = error_formats()
# The mesh of this test has no runners for the others, which is the only thing it may ever fail with.
SERVED = (
    *("/chat/completions", "/completions", "/responses", "/messages", "/keys"),
    *("/responses/input_tokens", "/messages/count_tokens", "/tokenize"),
)
SETTINGS = settings(
    max_examples=80, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)

WILD_TEXT = st.text(max_size=20) | st.sampled_from(["\0", "\ud800", "\u2028", "", "a" * 5000, "auto", "text", "user"])
WILD_NUMBERS = st.integers() | st.floats() | st.sampled_from([2**63, -(2**63) - 1, 10**400, 1e308, 5e-324, -0.0, 2**53])
WILD = st.recursive(
    st.none() | st.booleans() | WILD_NUMBERS | WILD_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WILD_TEXT, inner, max_size=4),
    max_leaves=12,
)


@dataclass
class Target:
    """The API with an account of its own, and the requests that were answered."""

    http: httpx2.Client
    answered: list[str] = field(default_factory=list)

    def post(self, path: str, content: bytes, **headers: str) -> httpx2.Response:
        """Sends a body and checks that the answer is a decent one."""
        response = self.http.post(path, content=content, headers={"Content-Type": "application/json", **headers})
        if response.status_code == 200:
            self.answered.append(response.headers["x-request-id"])
            return response
        # What is no HTTP has no path, and so no id.
        kind = ERRORS[path].body if "x-request-id" in response.headers else ErrorBody
        error: Any = msgspec.json.decode(response.content, type=kind).error  # type: ignore[attr-defined] # all have it
        assert error.message
        # Anthropic's errors have no code beside their type.
        assert all((error.type, getattr(error, "code", error.type)))
        if response.status_code == 503 and path not in SERVED:
            assert error.code == "service_unavailable"
        else:
            assert 400 <= response.status_code < 500, (response.status_code, error.message)
        return response

    def charged(self, request_id: str) -> int:
        """Returns what a request has cost; those that are free to begin with are not known."""
        response = self.http.get(f"/requests/{request_id}")
        return int(response.json()["credits_charged"]) if response.status_code == 200 else 0

    def balance(self) -> dict[str, Any]:
        """Returns the account's credits."""
        found: dict[str, Any] = self.http.get("/balance").json()
        return found


@pytest.fixture(scope="module")
def target(mesh: LocalMesh) -> Iterator[Target]:
    account = FundedAccount(mesh)
    mesh.command_now("credits", "grant", account.account, "1000000")
    scopes = ("chat", "embeddings", "audio", "images", "usage", "balance", "keys")
    options = [option for scope in scopes for option in ("--endpoint", scope)]
    headers = {"Authorization": f"Bearer {account.new_key(*options)['api_key']}"}
    with httpx2.Client(base_url=mesh.base_url, headers=headers, timeout=stretched(30)) as http:
        yield Target(http)
    assert mesh.command_now("ledger", "audit")["violations"] == []


@pytest.fixture(autouse=True)
async def only_answers_are_charged(target: Target) -> AsyncIterator[None]:
    """Checks after each test that the next request is served, and what the account paid for."""
    target.answered.clear()
    before = target.balance()["credits"]
    yield
    assert target.post("/chat/completions", json.dumps(BODIES["/chat/completions"]).encode()).status_code == 200
    await eventually(lambda: target.balance()["held"] == 0)
    assert before - target.balance()["credits"] == sum(map(target.charged, target.answered))


@pytest.mark.parametrize("path", BODIES)
def test_wild_fields(target: Target, path: str) -> None:
    names = [each.encode_name for each in msgspec.structs.fields(TYPES[path])]

    @SETTINGS
    @given(changes=st.dictionaries(st.sampled_from(names) | WILD_TEXT, WILD, min_size=1, max_size=2))
    def send(changes: dict[str, Any]) -> None:
        target.post(path, json.dumps(BODIES[path] | changes).encode())

    send()


def wild_inside(value: Any) -> st.SearchStrategy[Any]:
    """Returns copies of a value in which one of its parts, however deep, was replaced."""
    if isinstance(value, dict) and value:
        return st.one_of(WILD, *(st.fixed_dictionaries(one_wild(value, name)) for name in value))
    if isinstance(value, list) and value:
        return WILD | st.tuples(wild_inside(value[0]), *map(st.just, value[1:]))
    return WILD


def one_wild(value: dict[str, Any], wild: str) -> dict[str, st.SearchStrategy[Any]]:
    """Returns a strategy for each field of an object, of which one is changed."""
    return {name: wild_inside(part) if name == wild else st.just(part) for name, part in value.items()}


GRAMMAR = {"syntax": "lark", "definition": 'start: "a"+ /b/ LF\n%import common.LF'}
DEEP: dict[str, dict[str, Any]] = {
    "/chat/completions": {
        "messages": [
            {
                "role": "assistant",
                "content": [{"type": "text", "text": "Hi"}],
                "tool_calls": [
                    {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                    {"id": "2", "type": "custom", "custom": {"name": "c", "input": "x"}},
                ],
            },
            {"role": "tool", "tool_call_id": "1", "content": "x"},
            {"role": "tool", "tool_call_id": "2", "content": "x"},
        ],
        "tools": [
            {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}},
            {"type": "custom", "custom": {"name": "c", "format": {"type": "grammar", "grammar": GRAMMAR}}},
        ],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
        "stream": True,
        "stream_options": {"include_usage": True},
        "logit_bias": {"1": 1},
    },
    "/responses": {
        "input": [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
            {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "1", "output": "x"},
            {"type": "custom_tool_call", "call_id": "2", "name": "c", "input": "x", "namespace": "n"},
            {"type": "custom_tool_call_output", "call_id": "2", "output": "x"},
            {"type": "local_shell_call", "call_id": "3", "action": {"type": "exec", "command": ["ls"]}},
            {"type": "local_shell_call_output", "id": "3", "output": "x"},
            {"type": "mcp_call", "id": "4", "name": "f", "arguments": "{}", "output": "x"},
            {"type": "code_interpreter_call", "id": "5", "code": "1", "outputs": [{"type": "logs", "logs": "1"}]},
        ],
        "tools": [
            {"type": "function", "name": "f", "parameters": {"type": "object"}},
            {
                "type": "namespace",
                "name": "n",
                "description": "d",
                "tools": [{"type": "custom", "name": "c", "format": {"type": "grammar", **GRAMMAR}}],
            },
            {"type": "web_search", "filters": {"allowed_domains": ["example.com"]}},
        ],
        "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "custom", "name": "c"}]},
        "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}},
        "reasoning": {"effort": "low"},
        "stream": True,
    },
    "/messages": {
        "system": [{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Hm", "signature": "AAAA"},
                    {"type": "tool_use", "id": "1", "name": "f", "input": {"a": 1}},
                    {"type": "web_search_tool_result", "tool_use_id": "2", "content": [{"url": "x"}]},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": "x"}]},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
                ],
            },
        ],
        "tools": [{"name": "f", "input_schema": {"type": "object"}}, {"type": "web_search_20250305"}],
        "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
        "thinking": {"type": "enabled", "budget_tokens": 1024, "display": "omitted"},
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}},
        "stop_sequences": ["a"],
        "stream": True,
    },
    "/completions": {"prompt": [[1, 2], [3]], "logit_bias": {"1": 1}, "stream": True},
    "/embeddings": {"input": [[1, 2], [3]]},
    "/audio/speech": {"voice": {"id": "x"}},
}


@pytest.mark.parametrize("path", DEEP)
def test_wild_values_deep_inside(target: Target, path: str) -> None:
    @SETTINGS
    @given(body=wild_inside(BODIES[path] | DEEP[path]))
    def send(body: Any) -> None:
        target.post(path, json.dumps(body).encode())

    send()


@pytest.mark.parametrize("path", BODIES)
def test_wild_bytes(target: Target, path: str) -> None:
    good = json.dumps(BODIES[path] | DEEP.get(path, {})).encode()

    @SETTINGS
    @given(
        place=st.integers(0, len(good)),
        cut=st.integers(0, 5),
        noise=st.binary(max_size=8) | st.sampled_from([b"NaN", b"-Infinity", b"1e999", b"\xff\xfe", b"\xed\xa0\x80"]),
        content_type=st.sampled_from(
            ["application/json", "text/plain", "multipart/form-data; boundary=x", "\x01", "a/b"]
        ),
    )
    def send(place: int, cut: int, noise: bytes, content_type: str) -> None:
        target.post(path, good[:place] + noise + good[place + cut :], **{"Content-Type": content_type})

    send()


LONG = "word " * 1_900_000
EXTREMES: dict[str, bytes] = {
    "empty": b"",
    "truncated": b'{"model": "tiermesh-pro", "messages": [{"role": "us',
    "deep": b'{"model": "tiermesh-pro", "messages": ' + b"[" * 1_000_000,
    "deep-schema": b'{"model": "tiermesh-pro", "messages": [{"role": "user", "content": "x"}], "response_format": %b}'
    % (b'{"type": "json_schema", "schema": ' + b'{"a":' * 500 + b"{}" + b"}" * 501),
    "not-utf-8": b'{"model": "tiermesh-pro", "messages": [{"role": "user", "content": "\xff\xfe"}]}',
    "lone-surrogate": b'{"model": "tiermesh-pro", "messages": [{"role": "user", "content": "\\ud800"}]}',
    "null-byte": b'{"model": "tiermesh-pro", "messages": [{"role": "user", "content": "a\\u0000b"}]}',
    "duplicates": b'{"n": 0, "model": "tiermesh-pro", "messages": [{"role": "user", "content": "x"}], "n": 1, "n": 2}',
    "long-text": json.dumps({"model": "tiermesh-pro", "messages": [{"role": "user", "content": LONG}]}).encode(),
    "long-model": json.dumps({"model": LONG, "messages": [{"role": "user", "content": "x"}]}).encode(),
    "long-role": json.dumps({"model": "tiermesh-pro", "messages": [{"role": LONG, "content": "x"}]}).encode(),
    "long-user": json.dumps({"model": "tiermesh-pro", "user": LONG, "messages": "x"}).encode(),
    "long-stop": json.dumps(BODIES["/chat/completions"] | {"stop": LONG}).encode(),
    "long-name": json.dumps({LONG: 1} | BODIES["/chat/completions"]).encode(),
    "many-messages": json.dumps(
        {"model": "tiermesh-pro", "messages": [{"role": "user", "content": "x"}] * 10_001}
    ).encode(),
    "many-biases": json.dumps(
        BODIES["/chat/completions"] | {"logit_bias": {str(token): 1 for token in range(300_000)}}
    ).encode(),
}  # fmt: skip


@pytest.mark.parametrize("name", EXTREMES)
def test_extremes(target: Target, name: str) -> None:
    response = target.post("/chat/completions", EXTREMES[name])
    assert len(response.content) < 10_000
