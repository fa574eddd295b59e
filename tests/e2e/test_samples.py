"""The Python and curl samples of both references, as they stand there but for base URL, key and model.

docs/samples.md says which test runs which sample. Samples set no bound, so this mesh sells models of a short context.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any, cast

import httpx2
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletion
from pydantic import BaseModel

from tests.support.deadlines import stretched
from tests.support.mesh import LocalMesh

# Generous, because test machines are slow and busy.
SECONDS = 100.0
CURL = """
curl --silent --show-error {base_url}/chat/completions \\
-H "Authorization: Bearer $C0MPUTE_API_KEY" \\
-H "Content-Type: application/json" \\
-d '{{
"model": "tiermesh-pro",
"messages": [{{"role": "user", "content": "Hello!"}}]
}}'
"""


class CalendarEvent(BaseModel):
    name: str
    date: str
    participants: list[str]


@pytest.fixture
def client(sample_mesh: LocalMesh) -> Iterator[OpenAI]:
    with OpenAI(base_url=sample_mesh.base_url, api_key=sample_mesh.unlimited_key, max_retries=0) as client:
        yield client


def check_complete(completion: ChatCompletion, model: str = "tiermesh-pro") -> None:
    """Checks a whole answer in words; a small model may find no end but that of its context."""
    [choice] = completion.choices
    assert choice.message.content
    assert choice.finish_reason in {"stop", "length"}
    assert completion.model == model
    assert completion.usage is not None
    assert completion.usage.completion_tokens > 0


def test_c0mpute_curl(sample_mesh: LocalMesh) -> None:
    if shutil.which("curl"):
        done = subprocess.run(
            ["bash", "-c", CURL.format(base_url=sample_mesh.base_url)],
            capture_output=True,
            timeout=stretched(SECONDS),
            env={**os.environ, "C0MPUTE_API_KEY": sample_mesh.unlimited_key},
            check=True,
        )
        body = done.stdout
    else:
        # The same bytes on the wire.
        body = httpx2.post(
            sample_mesh.base_url + "/chat/completions",
            content='{\n"model": "tiermesh-pro",\n"messages": [{"role": "user", "content": "Hello!"}]\n}',
            headers={"Authorization": f"Bearer {sample_mesh.unlimited_key}", "Content-Type": "application/json"},
            timeout=stretched(SECONDS),
        ).content
    check_complete(ChatCompletion.model_validate_json(body))


def test_c0mpute_python(sample_mesh: LocalMesh) -> None:
    # The base URL of this reference ends in /api/v1.
    base_url = sample_mesh.base_url.removesuffix("/v1") + "/api/v1"
    client = OpenAI(base_url=base_url, api_key=sample_mesh.unlimited_key)

    resp = client.chat.completions.create(
        model="tiermesh-pro",
        messages=[{"role": "user", "content": "Hello!"}],
    )
    check_complete(resp)


def test_c0mpute_streaming(client: OpenAI, capsys: pytest.CaptureFixture[str]) -> None:
    stream = client.chat.completions.create(
        model="tiermesh-pro",
        messages=[{"role": "user", "content": "Write a haiku."}],
        stream=True,
    )
    for chunk in stream:
        print(chunk.choices[0].delta.content or "", end="")  # noqa: T201 - as it stands in the sample
    assert capsys.readouterr().out


def test_c0mpute_function_calling(client: OpenAI) -> None:
    tools: Any = [{
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Get the current weather for a city",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        },
    }]  # fmt: skip

    messages: Any = [{"role": "user", "content": "What's the weather in Paris?"}]
    # The last three are not in the sample: a model this small does not call by itself, or calls several times, and the
    # sample answers one call.
    r1 = client.chat.completions.create(
        model="tiermesh-max", messages=messages, tools=tools,
        tool_choice="required", temperature=0, parallel_tool_calls=False,
    )  # fmt: skip

    assert r1.choices[0].finish_reason == "tool_calls"
    call: Any = r1.choices[0].message.tool_calls[0]  # type: ignore[index] # as it stands in the sample
    assert call.function.name == "get_weather"
    assert "city" in json.loads(call.function.arguments)
    messages.append(r1.choices[0].message)
    messages.append({"role": "tool", "tool_call_id": call.id, "content": "18C and sunny"})

    r2 = client.chat.completions.create(model="tiermesh-max", messages=messages, tools=tools)
    assert r2.choices[0].message.content or r2.choices[0].message.tool_calls


def test_bytecompute_python(client: OpenAI) -> None:
    response = client.chat.completions.create(
        model="tiermesh-pro",
        messages=[
            {"role": "system", "content": "You are a travel agent. Be descriptive and helpful."},
            {"role": "user", "content": "Tell me the top 3 things to do in San Francisco"},
        ],
    )
    check_complete(response)


def test_bytecompute_streaming(client: OpenAI, capsys: pytest.CaptureFixture[str]) -> None:
    stream = client.chat.completions.create(
        model="tiermesh-pro",
        messages=[
            {"role": "system", "content": "You are a travel agent. Be descriptive and helpful."},
            {"role": "user", "content": "Tell me about San Francisco"},
        ],
        stream=True,
    )

    for chunk in stream:
        print(chunk.choices[0].delta.content or "", end="", flush=True)  # noqa: T201 - as it stands in the sample
    assert capsys.readouterr().out


def test_bytecompute_structured_outputs(client: OpenAI) -> None:
    # The schema sets no bound, and about one in eight answers of a model this small is a list without end.
    for _ in range(5):
        completion = client.chat.completions.create(
            model="tiermesh-pro",
            messages=[
                {"role": "system", "content": "Extract the event information."},
                {"role": "user", "content": "Alice and Bob are going to a science fair on Friday. Answer in JSON"},
            ],
            # The SDK's types know OpenAI's own shape only.
            response_format=cast(
                "Any",
                {
                    "type": "json_schema",
                    "schema": CalendarEvent.model_json_schema(),
                },
            ),
        )
        if completion.choices[0].finish_reason == "stop":
            break

    output = json.loads(completion.choices[0].message.content or "")
    assert CalendarEvent.model_validate(output)


def test_bytecompute_function_calling(client: OpenAI) -> None:
    tools: Any = [{
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Get current temperature for a given location.",
            "parameters": {
                "type": "object",
                "properties": {
                    "location": {
                        "type": "string",
                        "description": "City and country e.g. Bogotá, Colombia"
                    }
                },
                "required": [
                    "location"
                ],
                "additionalProperties": False
            },
            "strict": True
        }
    }]  # fmt: skip

    completion = client.chat.completions.create(
        model="tiermesh-pro",
        messages=[{"role": "user", "content": "What is the weather like in Paris today?"}],
        tools=tools,
        tool_choice="auto",
    )

    # The choice is the model's; a call that it makes follows the strict schema.
    message = completion.choices[0].message.model_dump()
    assert message["content"] or message["tool_calls"]
    for call in message["tool_calls"] or ():
        assert set(json.loads(call["function"]["arguments"])) == {"location"}
