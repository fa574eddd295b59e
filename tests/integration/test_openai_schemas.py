"""Every kind of answer of the text endpoints is what OpenAI's published schemas say; tool calls are in tests/unit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.support import openai_schemas
from tests.support.deadlines import stretched
from tests.support.mesh import LocalMesh

HELLO: dict[str, Any] = {"model": "tiermesh-pro", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3}
PARTS = [{"type": "text", "text": "Say "}, {"type": "text", "text": "hi"}]
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
WANTED: list[dict[str, Any]] = [
    {},
    {"n": 3, "logprobs": True, "top_logprobs": 5},
    {"logprobs": True, "top_logprobs": 0},
    {"stop": ["e"], "temperature": 0, "seed": 1, "logit_bias": {"5": -100}},
    {"modalities": ["text"], "verbosity": "low", "reasoning_effort": "low", "response_format": {"type": "text"}},
    {"store": False, "metadata": {"a": "b"}, "user": "u", "service_tier": "auto", "safety_identifier": "s"},
    {"prompt_cache_key": "k", "prediction": {"type": "content", "content": "Hi"}, "parallel_tool_calls": True},
    {"messages": [{"role": role, "content": PARTS} for role in ("developer", "system", "user", "assistant", "user")]},
    {
        "messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
            {"role": "assistant", "content": None, "refusal": "No.", "annotations": [], "audio": None},
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "call_1", "content": PARTS},
        ]
    },
    {"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "none"},
    {"functions": [], "function_call": "none"},
]


@pytest.fixture
def http(mesh: LocalMesh) -> Iterator[httpx2.Client]:
    headers = {"Authorization": f"Bearer {mesh.unlimited_key}"}
    with httpx2.Client(base_url=mesh.base_url, headers=headers, timeout=stretched(30)) as client:
        yield client


def events(response: httpx2.Response) -> list[Any]:
    """Returns the parsed events of a stream without its last mark."""
    assert response.status_code == 200, response.text
    lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


@pytest.mark.parametrize("wanted", WANTED, ids=lambda wanted: "-".join(wanted) or "plain")
def test_chat_completions(http: httpx2.Client, wanted: dict[str, Any]) -> None:
    response = http.post("/chat/completions", json=HELLO | wanted)
    assert response.status_code == 200, response.text
    body = response.json()
    openai_schemas.check("CreateChatCompletionResponse", body)
    assert body["system_fingerprint"].startswith("fp_")
    assert all({"refusal", "annotations"} <= choice["message"].keys() for choice in body["choices"])


@pytest.mark.parametrize("options", [None, {"include_usage": True, "include_obfuscation": False}])
@pytest.mark.parametrize("wanted", WANTED, ids=lambda wanted: "-".join(wanted) or "plain")
def test_chunks(http: httpx2.Client, wanted: dict[str, Any], options: Any) -> None:
    body = HELLO | wanted | {"stream": True, "stream_options": options}
    chunks = events(http.post("/chat/completions", json=body))
    for chunk in chunks:
        openai_schemas.check("CreateChatCompletionStreamResponse", chunk)
    # Only the last chunk may have no choices, and only if the usage was asked for.
    assert all(chunk["choices"] for chunk in chunks[:-1])
    assert bool(chunks[-1]["choices"]) == (options is None)
    assert len({chunk["id"] for chunk in chunks}) == len({chunk["system_fingerprint"] for chunk in chunks}) == 1


@pytest.mark.parametrize("wanted", [{}, {"logprobs": 3, "n": 2}, {"echo": True}])
def test_legacy_completions(http: httpx2.Client, wanted: dict[str, Any]) -> None:
    asked = {"model": "tiermesh-pro", "prompt": "Once", "max_tokens": 3} | wanted
    response = http.post("/completions", json=asked)
    assert response.status_code == 200, response.text
    openai_schemas.check("CreateCompletionResponse", response.json())
    for chunk in events(http.post("/completions", json=asked | {"stream": True})):
        # OpenAI describes whole bodies only, whose choices always have a reason to end.
        for choice in chunk["choices"]:
            choice["finish_reason"] = choice["finish_reason"] or "stop"
        openai_schemas.check("CreateCompletionResponse", chunk)


def test_responses(http: httpx2.Client) -> None:
    asked = {"model": "tiermesh-pro", "input": "Hi", "max_output_tokens": 20}
    response = http.post("/responses", json=asked)
    assert response.status_code == 200, response.text
    openai_schemas.check("Response", response.json())
    for event in events(http.post("/responses", json=asked | {"stream": True})):
        openai_schemas.check_event(event)


def test_models(http: httpx2.Client) -> None:
    openai_schemas.check("ListModelsResponse", http.get("/models").json())
    openai_schemas.check("Model", http.get("/models/tiermesh-pro").json())


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"temperature": 2.1}, "temperature"),
    ({"top_p": -0.1}, "top_p"),
    ({"n": 0}, "n"),
    ({"n": 99}, "n"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_completion_tokens": 1.5}, "max_completion_tokens"),
    ({"presence_penalty": -2.5}, "presence_penalty"),
    ({"frequency_penalty": "x"}, "frequency_penalty"),
    ({"logit_bias": {"1": 101}}, "logit_bias"),
    ({"logit_bias": {"9" * 5000: 1}}, "logit_bias"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    ({"top_logprobs": 1}, "top_logprobs"),
    ({"stop": ["a"] * 5}, "stop"),
    ({"seed": 2**63}, "seed"),
    ({"stream_options": {"include_usage": True}}, "stream_options"),
    ({"store": "yes"}, "store"),
    ({"metadata": {"a": 1}}, "metadata"),
    ({"metadata": {str(i): "x" for i in range(17)}}, "metadata"),
    ({"user": 5}, "user"),
    ({"service_tier": []}, "service_tier"),
    ({"verbosity": "chatty"}, "verbosity"),
    ({"reasoning_effort": 3}, "reasoning_effort"),
    ({"prediction": "Hi"}, "prediction"),
    ({"modalities": ["text", "audio"]}, "modalities"),
    ({"modalities": ["smell"]}, "modalities[0]"),
    ({"functions": [{"name": "f"}]}, "functions"),
    ({"function_call": {"name": "f"}}, "function_call"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"messages": []}, "messages"),
    ({"messages": [{"role": "function", "content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": "user"}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": [{"type": "refusal", "refusal": "No."}]}]}, "messages[0].content[0]"),
    ({"messages": [{"role": "user", "content": [{"type": "sound"}]}]}, "messages[0].content[0].type"),
]


@pytest.mark.parametrize(
    ("changes", "param"), WRONG, ids=[f"{index}-{param}" for index, (_, param) in enumerate(WRONG)]
)
def test_what_is_wrong_is_400_and_names_the_parameter(http: httpx2.Client, changes: dict[str, Any], param: str) -> None:
    response = http.post("/chat/completions", json=HELLO | changes)
    assert response.status_code == 400
    openai_schemas.check("ErrorResponse", response.json())
    assert response.json()["error"]["param"] == param
    assert isinstance(response.json()["error"]["code"], str)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/chat/completions", 405),
        ("GET", "/models/gpt-9", 404),
        ("POST", "/keys", 403),
    ],
)
def test_refusals(http: httpx2.Client, method: str, path: str, status: int) -> None:
    response = http.request(method, path)
    assert response.status_code == status
    openai_schemas.check("ErrorResponse", response.json())
