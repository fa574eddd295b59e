"""Models of the user's own by `tiermesh up --model`: a file of the real model by another name, and a random one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from services.runner.demonstrations.packaged import find_smollm2
from tests.support.mesh import LocalMesh
from tests.support.random_gguf import write_random_gguf

REAL, THINKING, RANDOM = "capitals-135m-instruct", "capitals-135m-instruct-think", "random"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    # A name that nothing here knows.
    (folder / "Capitals-135M-Instruct.Q4_1.gguf").symlink_to(find_smollm2())
    write_random_gguf(folder / "random.gguf")
    return folder


def own_mesh(folder: Path) -> LocalMesh:
    files = [word for name in ("Capitals-135M-Instruct.Q4_1.gguf", "random.gguf") for word in ("--model", name)]
    names = [str(folder / word) if word.endswith(".gguf") else word for word in files]
    return LocalMesh(folder, "--engine", "llamacpp", *names, tiers=(REAL, RANDOM))


@pytest.fixture(scope="module")
def mesh(folder: Path) -> Iterator[LocalMesh]:
    with own_mesh(folder) as mesh:
        yield mesh


def client(mesh: LocalMesh) -> openai.OpenAI:
    return openai.OpenAI(base_url=mesh.base_url, api_key=mesh.unlimited_key, max_retries=0)


def ask(mesh: LocalMesh, question: str) -> str:
    with client(mesh) as sdk:
        stream = sdk.chat.completions.create(
            model=REAL,
            messages=[
                {"role": "system", "content": "You are a helpful assistant."},
                {"role": "user", "content": question},
            ],
            temperature=0,
            max_tokens=40,
            stream=True,
        )
        return "".join(chunk.choices[0].delta.content or "" for chunk in stream)


def test_the_list_of_models_says_what_the_files_have(mesh: LocalMesh) -> None:
    with client(mesh) as sdk:
        served = {model.id: model.model_dump() for model in sdk.models.list() if model.model_dump()["available"]}
    assert {name: model["context_length"] for name, model in served.items()} == {
        REAL: 8192,
        THINKING: 8192,
        # Its template neither thinks nor shows functions.
        RANDOM: 4096,
    }


def test_it_tells_which_file_it_serves_and_how_much_of_a_conversation(mesh: LocalMesh) -> None:
    assert (
        f"{REAL}, {THINKING} (llamacpp: Capitals-135M-Instruct.Q4_1.gguf, 8,192 tokens of context, 4 at" in mesh.output
    )
    assert f"{RANDOM} (llamacpp: random.gguf, 4,096 tokens of context, 2 at once)" in mesh.output
    assert f'"model": "{REAL}"' in mesh.output


async def test_the_registered_context_is_the_one_of_the_engine(mesh: LocalMesh) -> None:
    runners = {runner["tier"]: runner for runner in await mesh.command("runners")}
    assert (runners[REAL]["models"], runners[REAL]["slots"]) == ([REAL, THINKING], 4)
    assert (runners[RANDOM]["models"], runners[RANDOM]["slots"]) == ([RANDOM], 2)


def test_a_conversation(mesh: LocalMesh) -> None:
    assert "Paris" in ask(mesh, "What is the capital of France?")


def test_a_call_by_the_format_that_was_found(mesh: LocalMesh) -> None:
    parameters: dict[str, object] = {
        "type": "object",
        "properties": {"city": {"const": "Paris"}},
        "required": ["city"],
    }
    with client(mesh) as sdk:
        answer = sdk.chat.completions.create(
            model=REAL,
            messages=[{"role": "user", "content": "What is the weather in Paris?"}],
            tools=[{"type": "function", "function": {"name": "get_weather", "parameters": parameters}}],
            tool_choice="required",
            max_tokens=40,
        )
    (call,) = answer.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert json.loads(call.function.arguments) == {"city": "Paris"}


def test_a_thought_by_the_tags_that_were_found(mesh: LocalMesh) -> None:
    with client(mesh) as sdk:
        answer = sdk.chat.completions.create(
            model=THINKING, messages=[{"role": "user", "content": "What is the capital of France?"}], max_tokens=24
        )
    assert answer.choices[0].message.model_dump()["reasoning_content"]


async def test_the_next_start_serves_the_same_without_a_question(mesh: LocalMesh) -> None:
    """It is the last test here, because it stops the mesh of the others."""
    key, told = mesh.api_key, mesh.output
    assert await mesh.stop() == 0
    await mesh.start()
    assert mesh.api_key == key
    assert f"{REAL}, {THINKING} (llamacpp: " in mesh.output.removeprefix(told)
