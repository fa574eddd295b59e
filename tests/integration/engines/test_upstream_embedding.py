"""Embeddings of a real llama.cpp server."""

from __future__ import annotations

import math
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from services.common.errors import Code, MeshError
from services.common.settings import SettingsError
from services.runner.demonstrations.minilm import minilm
from services.runner.demonstrations.packaged import find_smollm2
from services.runner.engines.upstream.kinds.base import Upstream
from services.runner.engines.upstream.kinds.embedding import EmbeddingServerEngine
from services.runner.kinds.embedding import EmbeddingInput, EmbeddingJob, EmbeddingStep, Vector
from tests.support.llamacpp_server import EMBEDDING_CONTEXT, SLOTS, LlamaCppServer
from tests.support.waiting import eventually

KEY = "sk-of-the-upstream"
pytestmark = pytest.mark.asyncio(loop_scope="module")
FOOD, BREAD, PASSWORD = "A man is eating food.", "A man is eating a piece of bread.", "How do I reset my password?"
LONG = "long " * (EMBEDDING_CONTEXT + 50)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return minilm(tmp_path_factory.mktemp("cache"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(model: Path) -> AsyncIterator[LlamaCppServer]:
    async with LlamaCppServer(model, KEY, embedding=True) as server:
        yield server


def engine_of(server: LlamaCppServer, **options: Any) -> EmbeddingServerEngine:
    upstream = Upstream(url=server.url, key=KEY)
    return EmbeddingServerEngine(upstream, **{"slots": 8, "context": EMBEDDING_CONTEXT, **options})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(server: LlamaCppServer) -> AsyncIterator[EmbeddingServerEngine]:
    engine = engine_of(server, shorter=(128,))
    await engine.start()
    yield engine
    await engine.close()


class Submitted:
    """A job and how it ends."""

    def __init__(self, engine: EmbeddingServerEngine, *inputs: EmbeddingInput, dimensions: int | None = None) -> None:
        self.ends: list[EmbeddingStep | MeshError] = []
        self.ticket = engine.submit(EmbeddingJob("request", inputs, dimensions), self.ends.append)

    async def end(self) -> EmbeddingStep:
        await eventually(lambda: bool(self.ends), 60)
        (end,) = self.ends
        if isinstance(end, MeshError):
            raise end
        return end


def similarity(one: Vector, other: Vector) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


async def test_texts_become_vectors_of_length_one_in_their_order(engine: EmbeddingServerEngine) -> None:
    assert engine.dimensions == (384, 128)
    step = await Submitted(engine, FOOD, BREAD, PASSWORD).end()
    food, bread, password = step.vectors
    assert all(len(vector) == 384 and math.isclose(math.hypot(*vector), 1, abs_tol=1e-4) for vector in step.vectors)
    assert similarity(food, bread) > 0.6
    assert similarity(food, password) < 0.2
    assert step.usage is not None
    assert step.usage.prompt_tokens == 28
    assert engine.active == 0


async def test_more_inputs_than_one_request_takes_come_in_order(engine: EmbeddingServerEngine) -> None:
    texts = [f"number {number}" for number in range(70)]
    together = (await Submitted(engine, *texts).end()).vectors
    for place in (0, 31, 32, 69):
        (alone,) = (await Submitted(engine, texts[place]).end()).vectors
        assert similarity(alone, together[place]) > 0.999


async def test_a_vector_is_cut_to_fewer_dimensions(engine: EmbeddingServerEngine) -> None:
    (whole,) = (await Submitted(engine, FOOD).end()).vectors
    (cut,) = (await Submitted(engine, FOOD, dimensions=128).end()).vectors
    assert math.isclose(math.hypot(*cut), 1, abs_tol=1e-4)
    length = math.hypot(*whole[:128])
    assert all(math.isclose(one * length, other, abs_tol=1e-5) for one, other in zip(cut, whole[:128], strict=True))


async def test_tokens_are_embedded_as_they_are(engine: EmbeddingServerEngine) -> None:
    step = await Submitted(engine, (101, 1037, 2158, 102)).end()
    assert step.usage is not None
    assert step.usage.prompt_tokens == 4
    with pytest.raises(MeshError, match="IDs must be below 30522") as refusal:
        Submitted(engine, (101, 30522))
    assert (refusal.value.code, refusal.value.param) == (Code.INVALID_REQUEST, "input")


async def test_an_input_that_is_too_long_is_a_mistake_of_the_client(engine: EmbeddingServerEngine) -> None:
    """The server calls it a failure of its own, for which other runners would be tried."""
    with pytest.raises(MeshError, match=f"{EMBEDDING_CONTEXT} tokens for each input") as refusal:
        await Submitted(engine, FOOD, LONG).end()
    assert (refusal.value.code, refusal.value.param) == (Code.CONTEXT_LENGTH_EXCEEDED, "input")
    await Submitted(engine, FOOD).end()


async def test_its_slots_are_those_of_the_server(engine: EmbeddingServerEngine) -> None:
    assert engine.slots == SLOTS
    jobs = [Submitted(engine, FOOD) for _ in range(SLOTS)]
    with pytest.raises(MeshError) as refusal:
        Submitted(engine, FOOD)
    assert refusal.value.code is Code.OVERLOADED
    for job in jobs:
        job.ticket.cancel()
    assert engine.active == 0
    await Submitted(engine, FOOD).end()
    assert not any(job.ends for job in jobs)


async def test_a_server_of_chats_embeds_nothing() -> None:
    async with LlamaCppServer(find_smollm2(), KEY) as server:
        with pytest.raises(SettingsError, match=r"llama\.cpp at .* has no embeddings .*; choose another kind"):
            await engine_of(server).start()


async def test_a_longer_context_than_the_model_has_is_refused(server: LlamaCppServer) -> None:
    with pytest.raises(SettingsError, match="attends to 512 tokens: lower TIERMESH_RUNNER_CONTEXT from 1024"):
        await engine_of(server, context=1024).start()


async def test_a_server_that_dies_in_the_work_costs_nothing(model: Path) -> None:
    async with LlamaCppServer(model, KEY, embedding=True) as server:
        engine = engine_of(server)
        await engine.start()
        assert engine.healthy
        server.send(signal.SIGSTOP)
        killed = Submitted(engine, FOOD)
        await eventually(lambda: engine.active == 1)
        server.send(signal.SIGKILL)
        with pytest.raises(MeshError, match=r"The model's server failed\. Try again\.") as failure:
            await killed.end()
        assert failure.value.code is Code.UNAVAILABLE
        await eventually(lambda: not engine.healthy, 30)
        await engine.close()
