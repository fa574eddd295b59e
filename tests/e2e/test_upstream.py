"""A mesh in front of a real llama.cpp server, started by `tiermesh up --upstream`."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator

import openai
import pytest
import pytest_asyncio

from services.runner.demonstrations.packaged import find_smollm2
from tests.support.llamacpp_server import CONTEXT, SLOTS, LlamaCppServer
from tests.support.mesh import LocalMesh
from tests.support.waiting import eventually

KEY = "sk-of-the-upstream"
MODEL = "smollm2-135m-instruct"
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[LlamaCppServer]:
    async with LlamaCppServer(find_smollm2(), KEY) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(server: LlamaCppServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalMesh]:
    options = ("--engine", "llamacpp", "--upstream", server.url)
    environ = {"TIERMESH_UPSTREAM_KEY": KEY}
    async with LocalMesh(tmp_path_factory.mktemp("upstream"), *options, tiers=("local",), environ=environ) as mesh:
        yield mesh


@pytest_asyncio.fixture(loop_scope="module")
async def client(mesh: LocalMesh) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=mesh.base_url, api_key=mesh.unlimited_key, max_retries=0) as client:
        yield client


async def credits_now(client: openai.AsyncOpenAI) -> int:
    balance = await client.get("/balance", cast_to=dict[str, int])
    return balance["credits"]


async def until_free(client: openai.AsyncOpenAI, before: int) -> None:
    """Waits until what was held for a request has been released."""

    async def free() -> bool:
        return await credits_now(client) == before

    await eventually(free, 30)


async def test_the_model_of_the_server_is_sold_as_it_is_there(mesh: LocalMesh, client: openai.AsyncOpenAI) -> None:
    found = (await client.models.retrieve(MODEL)).model_dump()
    assert (found["available"], found["context_length"]) == (True, CONTEXT)
    (runner,) = await mesh.command("runners")
    assert (runner["engine"], runner["tier"], runner["slots"]) == ("upstream", "local", SLOTS)
    assert "(upstream: llama.cpp at http://127.0.0.1:" in mesh.output
    assert KEY not in mesh.output


async def test_an_answer_whole_and_streamed_is_charged(client: openai.AsyncOpenAI) -> None:
    before = await credits_now(client)
    answer = await client.chat.completions.create(
        model=MODEL,
        messages=[
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": "What is the capital of France?"},
        ],
        temperature=0,
        max_tokens=40,
    )
    assert "Paris" in (answer.choices[0].message.content or "")
    assert answer.usage is not None
    assert answer.usage.completion_tokens > 3
    stream = await client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "Hello"}],
        max_tokens=10,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    assert len(chunks) > 3
    assert chunks[-1].usage is not None
    assert before - await credits_now(client) == 20


async def test_a_shape_that_the_server_does_not_keep_costs_nothing(client: openai.AsyncOpenAI) -> None:
    """This build of llama.cpp lets its model answer as it likes, whatever it is forced to call."""
    before = await credits_now(client)
    with pytest.raises(openai.InternalServerError, match="could not keep the required shape"):
        await client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": "What is the weather in Paris?"}],
            tools=[{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}],
            tool_choice="required",
            temperature=0,
            max_tokens=20,
        )
    await until_free(client, before)


async def test_what_the_server_lacks_is_refused_for_free(client: openai.AsyncOpenAI) -> None:
    before = await credits_now(client)
    hello = "Hello"
    with pytest.raises(openai.BadRequestError, match="'logprobs' is not served by this model"):
        await client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": hello}], logprobs=True)
    with pytest.raises(openai.BadRequestError, match="maximum context length is 2048 tokens"):
        await client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "fox " * 3000}])
    await until_free(client, before)


async def test_a_server_that_dies_in_an_answer_costs_nothing(
    server: LlamaCppServer, client: openai.AsyncOpenAI
) -> None:
    """It is the last test here, because the server stays dead."""
    before = await credits_now(client)
    stream = await client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "Tell a long story."}], max_tokens=1500, stream=True
    )
    said: list[str] = []

    async def read() -> None:
        async for chunk in stream:
            said.append(chunk.choices[0].delta.content or "")
            if "".join(said):
                server.send(signal.SIGKILL)

    with pytest.raises(openai.APIError) as failure:
        await read()
    assert "".join(said)
    assert "127.0.0.1" not in str(failure.value)
    await until_free(client, before)
