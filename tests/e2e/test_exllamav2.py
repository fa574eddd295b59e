"""The ExLlamaV2 runner behind the whole mesh: the library's real generator over the stand-in for a GPU.

The runners are processes of the environment with torch, as in production; all else runs where the tests do.
"""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionChunk

from tests.e2e.conftest import TORCH_PYTHON
from tests.support.mesh import LocalMesh
from tests.support.process import ServiceProcess
from tests.support.waiting import eventually

MODEL = "tiermesh-gpu"
CATALOG = f"""\
models:
  - {{id: tiermesh-pro, kind: chat, tier: pro, price: 10, capabilities: [tools], context: 4096}}
  - {{id: {MODEL}, kind: chat, tier: gpu, price: 7, capabilities: [tools], context: 1024}}
"""
ASK: Any = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "Tell me a long story."}],
    "temperature": 0,
    # The two tokens with which the stand-in's model ends an answer.
    "logit_bias": {"2": -100, "4": -100},
    "max_tokens": 24,
}
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}, "population": {"type": "integer", "maximum": 99999999}},
    "required": ["city", "population"],
    "additionalProperties": False,
}


@dataclass
class GpuMesh:
    """A mesh with two ExLlamaV2 runners."""

    mesh: LocalMesh
    runners: list[ServiceProcess]

    def states(self) -> list[dict[str, Any]]:
        """Returns what the router knows of the two."""
        return [runner for runner in self.mesh.command_now("runners") if runner["tier"] == "gpu"]


@pytest.fixture(scope="module")
def gpu_mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GpuMesh]:
    directory = tmp_path_factory.mktemp("gpu")
    subprocess.run([TORCH_PYTHON, "-m", "tests.torch.stand_in.checkpoint", directory / "tiny"], check=True)
    catalog = directory / "models.yaml"
    catalog.write_text(CATALOG)
    with LocalMesh(directory, "--models", str(catalog)) as mesh:
        fields = {
            "engine": "exllamav2",
            "model_path": str(directory / "tiny"),
            "context": "1024",
            "tier": "gpu",
            # Slow enough to be killed in the middle of an answer.
            "simulated_speed": "200",
            "catalog_file": str(catalog),
            **mesh.etcd_settings,
            **mesh.tls_settings("runner"),
        }
        runners = [
            ServiceProcess("runner", directory, fields, module="tests.torch.stand_in.runner", python=str(TORCH_PYTHON))
            for _ in range(2)
        ]
        world = GpuMesh(mesh, runners)
        try:
            for runner in runners:
                asyncio.run(runner.start())
            asyncio.run(eventually(lambda: [state["state"] for state in world.states()] == ["ready"] * 2))
            yield world
        finally:
            for runner in runners:
                asyncio.run(runner.kill())


@pytest.fixture
def gpu_client(gpu_mesh: GpuMesh) -> Iterator[openai.OpenAI]:
    mesh = gpu_mesh.mesh
    with openai.OpenAI(base_url=mesh.base_url, api_key=mesh.unlimited_key, max_retries=0) as client:
        yield client


def text_of(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def test_an_answer_is_streamed_and_counted(gpu_client: openai.OpenAI) -> None:
    whole = gpu_client.chat.completions.create(**ASK)
    chunks = list(gpu_client.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True}))
    assert text_of(chunks) == whole.choices[0].message.content
    assert len(chunks) > 10
    assert chunks[-1].usage is not None
    assert whole.usage is not None
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens == 24
    assert chunks[-1].usage.prompt_tokens == whole.usage.prompt_tokens > 5


def test_a_stop_string_ends_the_answer_before_it(gpu_client: openai.OpenAI) -> None:
    text = gpu_client.chat.completions.create(**ASK).choices[0].message.content
    assert text is not None
    stop = text[20:24]
    choice = gpu_client.chat.completions.create(**ASK, stop=["never", stop]).choices[0]
    assert (choice.message.content, choice.finish_reason) == (text[: text.index(stop)], "stop")


def test_an_answer_follows_its_schema(gpu_client: openai.OpenAI) -> None:
    schema: Any = {"type": "json_schema", "json_schema": {"name": "city", "schema": CITY, "strict": True}}
    ask = {name: value for name, value in ASK.items() if name != "logit_bias"} | {"max_tokens": 100}
    choice = gpu_client.chat.completions.create(**ask, response_format=schema).choices[0]
    assert set(json.loads(choice.message.content or "")) == {"city", "population"}
    assert choice.finish_reason == "stop"


def test_log_probabilities_come_with_the_tokens(gpu_client: openai.OpenAI) -> None:
    choice = gpu_client.chat.completions.create(**ASK, logprobs=True, top_logprobs=3).choices[0]
    assert choice.logprobs is not None
    entries = choice.logprobs.content or []
    assert len(entries) == 24
    assert b"".join(bytes(entry.bytes or ()) for entry in entries).decode() == choice.message.content
    for entry in entries:
        assert len(entry.top_logprobs) == 3
        assert sum(math.exp(top.logprob) for top in entry.top_logprobs) <= 1.001


def test_the_router_knows_pages_and_speed(gpu_mesh: GpuMesh, gpu_client: openai.OpenAI) -> None:
    gpu_client.chat.completions.create(**ASK)
    states = gpu_mesh.states()
    assert [state["pages_total"] for state in states] == [16, 16]
    assert all(0 < state["pages_free"] <= 16 for state in states)
    assert "tiermesh_runner_cache_pages 16.0" in asyncio.run(gpu_mesh.runners[0].metrics())


def test_the_answer_of_a_killed_runner_goes_on_at_the_other_one(gpu_mesh: GpuMesh, gpu_client: openai.OpenAI) -> None:
    ask = {**ASK, "max_tokens": 300, "stream": True}
    undisturbed = list(gpu_client.chat.completions.create(**ask))
    disturbed = gpu_client.chat.completions.create(**ask)
    chunks = [next(disturbed) for _ in range(20)]
    [victim] = [runner for runner in gpu_mesh.runners if "slots_active 1.0" in asyncio.run(runner.metrics())]
    asyncio.run(victim.kill())
    chunks += list(disturbed)
    assert text_of(chunks) == text_of(undisturbed)
    assert chunks[-1].choices[0].finish_reason == "length"
    # The others of this module may need it.
    asyncio.run(victim.start())
