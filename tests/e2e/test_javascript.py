"""The samples of both references in JavaScript: OpenAI's SDK and the Vercel AI SDK, each its own Node process.

tests/e2e/javascript holds them; the newest releases of both SDKs are pinned there.
"""

from __future__ import annotations

import base64
import json

import httpx2

from tests.support.images import plain_image
from tests.support.mesh import LocalMesh
from tests.support.node import run_sample


def test_c0mpute_node(sample_mesh: LocalMesh) -> None:
    completion = run_sample("chat", sample_mesh)
    assert completion["choices"][0]["message"]["content"]
    assert completion["model"] == "tiermesh-pro"


def test_bytecompute_chat(sample_mesh: LocalMesh) -> None:
    completion = run_sample("chat-travel", sample_mesh)
    assert completion["choices"][0]["message"]["content"]


def test_bytecompute_streaming(sample_mesh: LocalMesh) -> None:
    answer = run_sample("streaming", sample_mesh)
    assert answer["text"]
    assert answer["chunks"] > 3


def test_bytecompute_function_calling(sample_mesh: LocalMesh) -> None:
    message = run_sample("tools", sample_mesh, OPTIONS="{}")["message"]
    # The choice is the model's.
    assert message["content"] or message["tool_calls"]


def test_function_calling_by_force(real_mesh: LocalMesh) -> None:
    options = {"tool_choice": "required", "parallel_tool_calls": False, "temperature": 0, "max_tokens": 200}
    choice = run_sample("tools", real_mesh, OPTIONS=json.dumps(options))
    (call,) = choice["message"]["tool_calls"]
    assert choice["finish_reason"] == "tool_calls"
    assert call["function"]["name"] == "get_weather"
    assert set(json.loads(call["function"]["arguments"])) == {"location"}


def test_vision_with_an_inline_image(sample_mesh: LocalMesh) -> None:
    url = "data:image/png;base64," + base64.b64encode(plain_image("red")).decode()
    completion = run_sample("vision", sample_mesh, model="tiermesh-max", IMAGE_URL=url)
    assert completion["choices"][0]["message"]["content"]


def test_bytecompute_images(image_mesh: LocalMesh) -> None:
    url = run_sample("images", image_mesh, model="tiermesh-image")["url"]
    assert httpx2.get(url).headers["content-type"] == "image/png"


def test_openai_responses_stream_a_structured_answer(real_mesh: LocalMesh) -> None:
    answer = run_sample("responses", real_mesh)
    assert (answer["types"][0], answer["types"][-1]) == ("response.created", "response.completed")
    assert answer["parsed"]["capital"] in {"Paris", "London"}
    assert json.loads(answer["response"]["output"][0]["content"][0]["text"]) == answer["parsed"]


def test_vercel_generate_text(real_mesh: LocalMesh) -> None:
    answer = run_sample("ai-generate-text", real_mesh)
    assert "Paris" in answer["text"]
    assert (answer["finishReason"], answer["warnings"]) == ("stop", [])
    # The model was asked by POST /v1/responses.
    assert answer["id"].startswith("resp_")


def test_vercel_stream_text(real_mesh: LocalMesh) -> None:
    answer = run_sample("ai-stream-text", real_mesh)
    assert "Paris" in "".join(answer["deltas"])
    assert len(answer["deltas"]) > 3
    assert answer["usage"]["outputTokens"] >= len(answer["deltas"])


def test_vercel_tool_loop(real_mesh: LocalMesh) -> None:
    answer = run_sample("ai-tool-loop", real_mesh)
    first, second = answer["steps"]
    assert first["finishReason"] == "tool-calls"
    assert first["toolResults"][0]["output"]["city"] == answer["cities"][0]
    assert second["toolCalls"] == []
    assert answer["text"]


def test_vercel_structured_output(real_mesh: LocalMesh) -> None:
    answer = run_sample("ai-object", real_mesh)
    assert answer["capital"] in {"Paris", "London"}
    assert isinstance(answer["big"], bool)


def test_vercel_conversation(real_mesh: LocalMesh) -> None:
    first, second = run_sample("ai-conversation", real_mesh)
    assert "Paris" in first["text"]
    assert second["usage"]["inputTokens"] > first["usage"]["totalTokens"]
