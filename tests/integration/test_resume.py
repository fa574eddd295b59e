"""A runner dies in the middle of an answer and another one goes on: the client sees one uninterrupted answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionChunk

from tests.support.forked_service import ForkedServiceProcess
from tests.support.mesh import LocalMesh
from tests.support.process import ServiceProcess
from tests.support.waiting import eventually

PROMPT: Any = [{"role": "user", "content": "Tell me about the bridge over the river"}]
# Slow enough that a busy machine finds out who is at work before the answer ends.
SPEED = "50"


@pytest.fixture
async def meshes(tmp_path: Path) -> AsyncIterator[tuple[LocalMesh, ServiceProcess]]:
    """A mesh and a second runner beside its own."""
    settings = {"TIERMESH_RUNNER_SIMULATED_SPEED": SPEED}
    async with LocalMesh(tmp_path, environ=settings) as mesh:
        fields = {"engine": "simulated", "simulated_speed": SPEED, **mesh.etcd_settings}
        async with ForkedServiceProcess("runner", tmp_path, fields) as second:
            await eventually(lambda: len(mesh.command_now("runners")) == 2)
            yield mesh, second


def text_of(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


async def test_the_answer_goes_on_at_another_runner(meshes: tuple[LocalMesh, ServiceProcess]) -> None:
    mesh, second = meshes
    with openai.OpenAI(base_url=mesh.base_url, api_key=mesh.unlimited_key, max_retries=0) as client:

        def stream() -> openai.Stream[ChatCompletionChunk]:
            return client.chat.completions.create(
                model="tiermesh-pro", messages=PROMPT, max_tokens=150, stream=True,
                stream_options={"include_usage": True},
            )  # fmt: skip

        *undisturbed, usage = list(stream())
        before = mesh.command_now("balance", mesh.account_id)["available"]
        disturbed = stream()
        chunks = [next(disturbed) for _ in range(20)]
        busy = [runner for runner in mesh.command_now("runners") if runner["active"]]
        if busy[0]["address"] == second.address:
            await second.kill()
        else:
            mesh.kill("runner-pro")
        *rest, last = list(disturbed)
    assert text_of(chunks + rest) == text_of(undisturbed)
    assert rest[-1].choices[0].finish_reason == "length"
    assert last.usage == usage.usage
    assert before - mesh.command_now("balance", mesh.account_id)["available"] == 10
