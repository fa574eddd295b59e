"""The embedding engine with its real model."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from services.common.errors import Code, MeshError
from services.runner.demonstrations.minilm import minilm
from services.runner.demonstrations.packaged import find_smollm2
from services.runner.engines.minilm import MiniLmEngine
from services.runner.kinds.base import FinishReason
from services.runner.kinds.embedding import EmbeddingInput, EmbeddingJob, EmbeddingStep, Vector
from tests.support.deadlines import within
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")
SENTENCES = ("A man is eating food.", "A man is eating a piece of bread.", "How do I reset my password?")
# Each takes the model a second or so.
LONG = tuple(f"{number} " + "long " * 480 for number in range(8))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return minilm(tmp_path_factory.mktemp("cache"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def started(model: Path) -> AsyncIterator[MiniLmEngine]:
    engine = MiniLmEngine(model, slots=2, context=4096, shorter_dimensions=(128,))
    await engine.start()
    yield engine
    await engine.close()


@pytest_asyncio.fixture(loop_scope="module")
async def engine(started: MiniLmEngine) -> AsyncIterator[MiniLmEngine]:
    assert started.active == 0
    yield started
    await eventually(lambda: started.active == 0)


def submit(engine: MiniLmEngine, *inputs: EmbeddingInput, dimensions: int | None = None) -> Submitted:
    return Submitted(engine, EmbeddingJob("request", inputs, dimensions))


async def embed(engine: MiniLmEngine, *inputs: EmbeddingInput, dimensions: int | None = None) -> EmbeddingStep:
    return await submit(engine, *inputs, dimensions=dimensions).end()


class Submitted:
    """A job and how it ends."""

    def __init__(self, engine: MiniLmEngine, job: EmbeddingJob) -> None:
        self._end: asyncio.Future[EmbeddingStep] = asyncio.get_running_loop().create_future()
        self.ticket = engine.submit(job, self._take)

    def _take(self, step: EmbeddingStep | MeshError) -> None:
        # A second end would raise here.
        if isinstance(step, MeshError):
            self._end.set_exception(step)
        else:
            self._end.set_result(step)

    @property
    def ended(self) -> bool:
        return self._end.done()

    async def end(self) -> EmbeddingStep:
        async with within(60):
            return await self._end


def similarity(one: Vector, other: Vector) -> float:
    return sum(map(float.__mul__, one, other))


async def test_vectors_are_the_models(engine: MiniLmEngine) -> None:
    assert (engine.context, engine.dimensions) == (512, (384, 128))
    step = await embed(engine, *SENTENCES)
    assert step.finish_reason is FinishReason.STOP
    assert [len(vector) for vector in step.vectors] == [384] * 3
    assert all(math.isclose(math.hypot(*vector), 1, abs_tol=1e-6) for vector in step.vectors)
    eating, bread, password = step.vectors
    assert similarity(eating, bread) > 0.7
    assert similarity(eating, password) < 0.15


async def test_a_batch_says_the_same_as_each_input_alone(engine: MiniLmEngine) -> None:
    together = await embed(engine, *SENTENCES)
    alone = [await embed(engine, sentence) for sentence in SENTENCES]
    for vector, single in zip(together.vectors, alone, strict=True):
        assert list(vector) == pytest.approx(list(single.vectors[0]), abs=1e-5)
    assert together.usage is not None
    assert together.usage.prompt_tokens == sum(step.usage.prompt_tokens for step in alone if step.usage)


async def test_tokens_are_embedded_as_they_are(engine: MiniLmEngine) -> None:
    # [CLS] hello world [SEP]
    tokens = await embed(engine, (101, 7592, 2088, 102))
    text = await embed(engine, "Hello world")
    assert list(tokens.vectors[0]) == pytest.approx(list(text.vectors[0]), abs=1e-6)
    assert tokens.usage == text.usage
    bare = await embed(engine, (7592, 2088))
    assert bare.usage is not None
    assert bare.usage.prompt_tokens == 2
    assert similarity(bare.vectors[0], text.vectors[0]) < 0.999


async def test_special_tokens_in_a_text_are_only_text(engine: MiniLmEngine) -> None:
    marked = await embed(engine, "[SEP]")
    assert marked.usage is not None
    # [CLS] [ sep ] [SEP], and not [CLS] [SEP] [SEP].
    assert marked.usage.prompt_tokens > 3


async def test_a_vector_may_be_cut(engine: MiniLmEngine) -> None:
    (whole,) = (await embed(engine, SENTENCES[0])).vectors
    (cut,) = (await embed(engine, SENTENCES[0], dimensions=128)).vectors
    assert len(cut) == 128
    assert math.isclose(math.hypot(*cut), 1, abs_tol=1e-6)
    assert math.isclose(cut[0] / cut[1], whole[0] / whole[1], rel_tol=1e-4)


async def test_a_long_input_is_refused_before_any_work(engine: MiniLmEngine) -> None:
    with pytest.raises(MeshError) as refusal:
        await embed(engine, *LONG, "word " * 600)
    assert refusal.value.code is Code.CONTEXT_LENGTH_EXCEEDED
    assert refusal.value.param == "input"
    assert "input 8 has 602 tokens" in refusal.value.message
    step = await embed(engine, "word " * 510)
    assert step.usage is not None
    assert step.usage.prompt_tokens == 512


async def test_tokens_of_another_model_are_refused(engine: MiniLmEngine) -> None:
    with pytest.raises(MeshError, match="tokens that this model does not have") as refusal:
        await embed(engine, (101, 30522, 102))
    assert refusal.value.code is Code.INVALID_REQUEST


async def test_a_full_engine_says_so_and_a_cancelled_job_frees_its_slot(engine: MiniLmEngine) -> None:
    running = [submit(engine, *LONG), submit(engine, *LONG)]
    with pytest.raises(MeshError) as refusal:
        submit(engine, "one more")
    assert refusal.value.code is Code.OVERLOADED
    running[0].ticket.cancel()
    # Once its batch is finished.
    await eventually(lambda: engine.active == 1)
    # A short job is done long before the other long one.
    assert len((await embed(engine, "one more")).vectors) == 1
    assert not running[1].ended
    running[1].ticket.cancel()
    await eventually(lambda: engine.active == 0)
    assert not any(job.ended for job in running)


async def test_closing_ends_everything(model: Path) -> None:
    threads = set(threading.enumerate())
    engine = MiniLmEngine(model)
    with pytest.raises(MeshError):
        submit(engine, "too early")
    await engine.start()
    running = submit(engine, *LONG)
    await engine.close()
    with pytest.raises(MeshError) as end:
        await running.end()
    assert end.value.code is Code.UNAVAILABLE
    assert (engine.active, engine.healthy) == (0, False)
    assert {thread for thread in threading.enumerate() if thread.name.startswith("minilm")} <= threads
    with pytest.raises(MeshError):
        submit(engine, "too late")


async def test_an_engine_that_makes_no_progress_is_not_healthy(model: Path) -> None:
    now = 0.0
    engine = MiniLmEngine(model, stall_seconds=60, clock=lambda: now)
    await engine.start()
    now = 1000.0
    assert healthy(engine)
    running = submit(engine, *LONG)

    def stalls() -> bool:
        nonlocal now
        now += 60
        return not healthy(engine)

    # Within a batch, which takes about a second.
    await eventually(stalls)
    await eventually(lambda: healthy(engine))
    running.ticket.cancel()
    await engine.close()


def healthy(engine: MiniLmEngine) -> bool:
    # As a function, because the type checker takes a property to be constant.
    return engine.healthy


async def test_a_model_that_does_not_embed_is_refused() -> None:
    with pytest.raises((ValueError, RuntimeError), match="is not a model for embeddings"):
        await MiniLmEngine(find_smollm2(), slots=1, context=256).start()


async def test_dimensions_that_there_are_not_are_refused(model: Path) -> None:
    with pytest.raises(ValueError, match="have 384 dimensions and can only be cut to fewer"):
        await MiniLmEngine(model, slots=1, shorter_dimensions=(512,)).start()
