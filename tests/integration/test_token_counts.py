"""Counts of tokens: exact, free, limited like other requests, and refused in the words of their endpoints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import openai_schemas
from tests.support.account import FundedAccount
from tests.support.deadlines import stretched
from tests.support.mesh import LocalMesh

MODEL = "tiermesh-pro"
COUNT, TOKENIZE, MESSAGES = "/responses/input_tokens", "/tokenize", "/messages/count_tokens"
BODIES: dict[str, dict[str, Any]] = {
    COUNT: {"model": MODEL, "input": "Name a colour."},
    TOKENIZE: {"model": MODEL, "messages": [{"role": "user", "content": "Name a colour."}]},
    MESSAGES: {"model": MODEL, "messages": [{"role": "user", "content": "Name a colour."}]},
}
# The status and the name of an error in the endpoint's own words.
WORDS = {
    "permission_denied": (403, "permission_error"),
    "rate_limit_exceeded": (429, "rate_limit_error"),
    "service_unavailable": (529, "overloaded_error"),
    "model_not_found": (404, "not_found_error"),
    "invalid_api_key": (401, "authentication_error"),
}
# Every part of a request that is in its prompt.
TEXTS = st.text(max_size=40) | st.sampled_from(["Hello there.", "<|im_end|>", "a\n b\t c", "né 日本 🎉"])
FUNCTION = {"type": "function", "name": "f", "description": "Does it.", "parameters": {"type": "object"}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
SHAPE = {"type": "json_schema", "name": "n", "description": "The number of cities.", "schema": SCHEMA}
CALLED = [
    {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": '{"a": 1}'},
    {"type": "function_call_output", "call_id": "call_1", "output": "It is done."},
]
TURN = st.one_of(
    st.builds(lambda role, text: [{"role": role, "content": text}], st.sampled_from(["user", "system"]), TEXTS),
    st.builds(lambda text: [{"role": "assistant", "content": [{"type": "output_text", "text": text}]}], TEXTS),
    st.just(CALLED),
)
REQUESTS = st.builds(
    lambda turns, last, fields: {
        "input": [*(i for turn in turns for i in turn), {"role": "user", "content": last}],
        **fields,
    },
    st.lists(TURN, max_size=4).filter(lambda turns: turns.count(CALLED) < 2),
    TEXTS,
    st.fixed_dictionaries(
        {},
        optional={
            "instructions": TEXTS,
            "tools": st.just([FUNCTION]),
            "text": st.just({"format": SHAPE}),
            "reasoning": st.sampled_from([{"effort": "low"}, {"effort": "none"}]),
        },
    ),
)


class Counts:
    """The API with an account of its own."""

    def __init__(self, account: FundedAccount, http: httpx2.Client) -> None:
        self.account = account
        self.http = http

    def count(self, path: str = COUNT, **fields: Any) -> dict[str, Any]:
        response = self.http.post(path, json=BODIES[path] | fields)
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        return body


@pytest.fixture(scope="module")
def counts(mesh: LocalMesh) -> Iterator[Counts]:
    account = FundedAccount(mesh)
    headers = {"Authorization": f"Bearer {account.new_key()['api_key']}"}
    with httpx2.Client(base_url=mesh.base_url, headers=headers, timeout=stretched(30)) as http:
        yield Counts(account, http)


# What the Messages API has in its own form.
CONVERSATIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "system": {
        "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}, {"text": "Be kind."}]
    },
    "tools": {
        "tools": [{"name": "f", "description": "Does it.", "input_schema": SCHEMA}],
        "tool_choice": {"type": "any"},
    },
    "hosted": {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
    "results": {
        "tools": [{"name": "f", "input_schema": SCHEMA}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Do it."}]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "call_1", "name": "f", "input": {"a": 1}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "It is done."}]},
        ],
    },
    "thinking": {"thinking": {"type": "enabled", "budget_tokens": 1024}},
    "shape": {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA | {"description": "A number."}}}},
}


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_a_message_uses_what_was_counted(mesh: LocalMesh, counts: Counts, name: str) -> None:
    body = BODIES[MESSAGES] | CONVERSATIONS[name]
    headers = {"x-api-key": mesh.unlimited_key, "anthropic-version": "2023-06-01"}
    url = str(counts.http.base_url).rstrip("/")
    # Anthropic's clients send no other header with their key.
    counted = httpx2.post(url + MESSAGES, json=body, headers=headers)
    assert counted.status_code == 200, counted.text
    answer = httpx2.post(f"{url}/messages", json=body | {"max_tokens": 1}, headers=headers)
    assert answer.status_code == 200, answer.text
    usage = answer.json()["usage"]
    assert counted.json() == {"input_tokens": usage["input_tokens"] + usage["cache_read_input_tokens"]}


def test_the_count_before_is_the_usage_after(mesh: LocalMesh, counts: Counts) -> None:
    headers = {"Authorization": f"Bearer {mesh.unlimited_key}"}

    @settings(max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(body=REQUESTS)
    def same(body: dict[str, Any]) -> None:
        counted = counts.count(**body)
        answer = counts.http.post("/responses", json={"model": MODEL, **body, "max_output_tokens": 1}, headers=headers)
        assert answer.status_code == 200, answer.text
        assert counted == {"object": "response.input_tokens", "input_tokens": answer.json()["usage"]["input_tokens"]}

    same()


def test_a_count_is_what_openai_s_document_says(counts: Counts) -> None:
    openai_schemas.check("TokenCountsResource", counts.count())


def test_nothing_is_held_charged_or_kept(counts: Counts) -> None:
    for path, body in BODIES.items():
        response = counts.http.post(path, json=body, headers={"Idempotency-Key": "the same"})
        assert response.status_code == 200
        assert "x-tiermesh-credits-charged" not in response.headers
        assert counts.http.get(f"/requests/{response.headers['x-request-id']}").status_code == 404
    balance = counts.http.get("/balance").json()
    assert (balance["credits"], balance["held"]) == (1000, 0)


def test_an_account_without_credits_may_count(mesh: LocalMesh, counts: Counts) -> None:
    poor = mesh.command_now("account", "create", "poor")["id"]
    key = mesh.command_now("key", "create", poor)["api_key"]
    response = counts.http.post(COUNT, json=BODIES[COUNT], headers={"Authorization": f"Bearer {key}"})
    assert response.status_code == 200


def assert_refused(path: str, response: httpx2.Response, code: str, status: int) -> str:
    """Checks that an error is in the shape of its endpoint, and returns its message."""
    error = response.json()["error"]
    if path == MESSAGES:
        status, kind = WORDS[code]
        assert response.json()["type"] == "error"
        assert error["type"] == kind
    else:
        assert error["code"] == code
    assert response.status_code == status
    return str(error["message"])


def test_counts_use_up_the_rate_limit(mesh: LocalMesh, counts: Counts) -> None:
    key = mesh.command_now("key", "create", counts.account.account, "--rpm", "3")["api_key"]
    headers = {"Authorization": f"Bearer {key}"}
    for left, (path, body) in zip((2, 1, 0), BODIES.items(), strict=True):
        response = counts.http.post(path, json=body, headers=headers)
        assert response.status_code == 200
        assert response.headers["x-ratelimit-remaining-requests"] == str(left)
    for path, body in BODIES.items():
        refused = counts.http.post(path, json=body, headers=headers)
        assert_refused(path, refused, "rate_limit_exceeded", 429)


@pytest.mark.parametrize("path", BODIES)
def test_a_key_needs_the_scope_and_the_model(counts: Counts, path: str) -> None:
    for options, lacks in ((("--endpoint", "models"), "'chat'"), (("--model", "tiermesh-max"), "'tiermesh-pro'")):
        headers = {"Authorization": f"Bearer {counts.account.new_key(*options)['api_key']}"}
        response = counts.http.post(path, json=BODIES[path], headers=headers)
        assert lacks in assert_refused(path, response, "permission_denied", 403)
    anonymous = httpx2.post(str(counts.http.base_url).rstrip("/") + path, json=BODIES[path])
    assert_refused(path, anonymous, "invalid_api_key", 401)


@pytest.mark.parametrize("path", BODIES)
def test_a_model_without_a_runner_is_unavailable_at_once(counts: Counts, path: str) -> None:
    response = counts.http.post(path, json=BODIES[path] | {"model": "tiermesh-max"})
    assert "no runner" in assert_refused(path, response, "service_unavailable", 503)
    assert int(response.headers["retry-after"]) > 0
    unknown = counts.http.post(path, json=BODIES[path] | {"model": "nothing"})
    assert_refused(path, unknown, "model_not_found", 404)


def test_tokens_are_listed_where_clients_of_vllm_look_for_them(counts: Counts) -> None:
    listed = counts.count(TOKENIZE)
    assert listed["token_strs"] is None
    assert listed["max_model_len"] == counts.http.get(f"/models/{MODEL}").json()["context_length"]
    root = str(counts.http.base_url).rstrip("/").removesuffix("/v1")
    headers = {"Authorization": counts.http.headers["Authorization"]}
    for prefix in ("", "/v1", "/api/v1"):
        response = httpx2.post(root + prefix + TOKENIZE, json=BODIES[TOKENIZE], headers=headers)
        assert response.json() == listed
    assert httpx2.get(root + TOKENIZE, headers=headers).status_code == 405
    text = {"model": MODEL, "prompt": "Name a colour.", "return_token_strs": True}
    strings = counts.http.post(TOKENIZE, json=text).json()
    assert "".join(strings["token_strs"]) == "Name a colour."
    assert len(strings["tokens"]) == len(strings["token_strs"])


def test_tools_and_shapes_count(counts: Counts) -> None:
    plain = counts.count()["input_tokens"]
    assert counts.count(tools=[FUNCTION])["input_tokens"] > plain
    assert counts.count(tools=[FUNCTION], tool_choice="none")["input_tokens"] == plain
    assert counts.count(text={"format": SHAPE})["input_tokens"] > plain
    tool = {"type": "function", "function": {key: value for key, value in FUNCTION.items() if key != "type"}}
    chat = {"messages": BODIES[TOKENIZE]["messages"], "tools": [tool]}
    assert counts.count(TOKENIZE, **chat)["count"] == counts.count(tools=[FUNCTION])["input_tokens"]


def test_compaction_is_said_not_to_be_offered(counts: Counts) -> None:
    response = counts.http.post("/responses/compact", content=json.dumps(BODIES[COUNT]))
    assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")
    assert "Compaction is not offered" in response.json()["error"]["message"]
