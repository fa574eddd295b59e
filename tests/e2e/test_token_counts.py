"""Token counts with OpenAI's SDK and by plain HTTP, on a real model: they are what answers then say."""

from __future__ import annotations

import base64
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai.types.responses.input_token_count_response import InputTokenCountResponse

from tests.support.deadlines import stretched
from tests.support.images import plain_image
from tests.support.mesh import LocalMesh

MODEL, SEEING = "tiermesh-pro", "tiermesh-max"
WEATHER: dict[str, Any] = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the current weather for a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
TEXTS = st.text(max_size=60) | st.sampled_from(
    ["What is 2 + 2?", "<|im_end|>", "def f():\n    return 1\n", "né 日本 🎉"]
)
TURNS = st.builds(lambda role, text: {"role": role, "content": text}, st.sampled_from(["user", "assistant"]), TEXTS)
PICTURE = "data:image/png;base64," + base64.b64encode(plain_image("blue")).decode()


def post(mesh: LocalMesh, path: str, **body: Any) -> Any:
    headers = {"Authorization": f"Bearer {mesh.unlimited_key}"}
    response = httpx2.post(mesh.base_url + path, json=body, headers=headers, timeout=stretched(60))
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize(
    "body",
    [
        {"input": "What is the capital of France?"},
        {"instructions": "Answer briefly.", "input": [{"role": "user", "content": "What is 2 + 2?"}]},
        {"input": "What is the weather in Paris?", "tools": [WEATHER]},
        {"input": "Name a colour.", "reasoning": {"effort": "low"}, "model": "tiermesh-max-think"},
    ],
    ids=["text", "instructions", "tools", "reasoning"],
)
def test_the_sdk_counts_what_the_response_uses(client: openai.OpenAI, body: dict[str, Any]) -> None:
    wanted = {"model": MODEL, **body}
    counted = client.responses.input_tokens.count(**wanted)
    InputTokenCountResponse.model_validate(counted.to_dict(), strict=True)
    assert counted.object == "response.input_tokens"
    response = client.responses.create(**wanted, max_output_tokens=1)
    assert response.usage is not None
    assert counted.input_tokens == response.usage.input_tokens


def test_random_conversations_have_the_tokens_that_are_counted(real_mesh: LocalMesh) -> None:
    @settings(max_examples=10, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(turns=st.lists(TURNS, max_size=3), last=TEXTS)
    def same(turns: list[Any], last: str) -> None:
        fields = {"model": MODEL, "messages": [*turns, {"role": "user", "content": last}]}
        listed = post(real_mesh, "/tokenize", **fields)
        usage = post(real_mesh, "/chat/completions", **fields, max_tokens=1)["usage"]
        assert listed["count"] == len(listed["tokens"]) == usage["prompt_tokens"]

    same()


def test_images_count_as_they_are_seen(client: openai.OpenAI) -> None:
    parts: Any = [{"type": "input_text", "text": "Which colour?"}, {"type": "input_image", "image_url": PICTURE}]
    wanted: dict[str, Any] = {"model": SEEING, "input": [{"role": "user", "content": parts}]}
    counted = client.responses.input_tokens.count(**wanted)
    response = client.responses.create(**wanted, max_output_tokens=1)
    assert response.usage is not None
    assert counted.input_tokens == response.usage.input_tokens
    alone = client.responses.input_tokens.count(model=SEEING, input="Which colour?")
    assert counted.input_tokens > alone.input_tokens + 10


def test_anthropics_sdk_counts_what_the_message_uses(real_mesh: LocalMesh) -> None:
    source: Any = {"type": "base64", "media_type": "image/png", "data": PICTURE.partition(",")[2]}
    blocks: Any = [{"type": "image", "source": source}, {"type": "text", "text": "Which colour?"}]
    body: Any = {"model": SEEING, "system": "Be brief.", "messages": [{"role": "user", "content": blocks}]}
    url = real_mesh.base_url.removesuffix("/v1")
    with anthropic.Anthropic(base_url=url, api_key=real_mesh.unlimited_key, max_retries=0) as client:
        counted = client.messages.count_tokens(**body)
        usage = client.messages.create(**body, max_tokens=1).usage
        assert counted.input_tokens == usage.input_tokens + (usage.cache_read_input_tokens or 0)
        offered: Any = [{"name": "f", "description": "Looks.", "input_schema": {"type": "object"}}]
        assert client.messages.count_tokens(**body, tools=offered).input_tokens > counted.input_tokens


def test_listed_tokens_are_a_prompt(real_mesh: LocalMesh, client: openai.OpenAI) -> None:
    text = "The capital of France is"
    listed = post(real_mesh, "/tokenize", model=MODEL, prompt=text, return_token_strs=True)
    assert listed["token_strs"] == ["The", "Ġcapital", "Ġof", "ĠFrance", "Ġis"]
    by_text, by_tokens = (
        client.completions.create(model=MODEL, prompt=prompt, max_tokens=3, temperature=0)
        for prompt in (text, listed["tokens"])
    )
    assert by_text.choices[0].text == by_tokens.choices[0].text
    assert by_text.usage is not None
    assert by_text.usage.prompt_tokens == listed["count"] == 5
    chat = post(
        real_mesh, "/tokenize", model=MODEL, messages=[{"role": "user", "content": "Hi"}], return_token_strs=True
    )
    assert chat["token_strs"][0] == "<|im_start|>"
