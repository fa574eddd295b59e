"""Embeddings as servers give them, and what is no answer."""

from __future__ import annotations

import asyncio
import base64
import math
from array import array
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from services.common.errors import Code, MeshError
from services.common.settings import SettingsError
from services.runner.engines.upstream.kinds.base import Upstream
from services.runner.engines.upstream.kinds.embedding import EmbeddingServerEngine
from services.runner.kinds.embedding import EmbeddingJob
from tests.support.job_recording import RecordedJob
from tests.support.recorded_server import Answer, RecordedServer, refusal
from tests.support.waiting import eventually
from tests.unit.runner.engines.upstream.kinds.servers import SERVERS

PATH = "/v1/embeddings"
PATHS = {"Ollama": "/api/embed"}


def vectors(inputs: Sequence[Any], encode: Any = list) -> dict[str, Any]:
    """Returns a vector for each input that tells its length apart."""
    data = [
        {"object": "embedding", "index": index, "embedding": encode([float(len(given)), 0.0, 1.0])}
        for index, given in enumerate(inputs)
    ]
    return {"object": "list", "data": data, "usage": {"prompt_tokens": len(inputs), "total_tokens": len(inputs)}}


def in_base64(vector: Sequence[float]) -> str:
    return base64.b64encode(array("f", vector).tobytes()).decode()


async def embed(request: web.Request) -> Answer:
    body = await request.json()
    if "encoding_format" not in body:
        return {"embeddings": [[float(len(given)), 0.0, 1.0] for given in body["input"]], "prompt_eval_count": 3}
    return vectors(body["input"], in_base64 if body["encoding_format"] == "base64" else list)


@asynccontextmanager
async def running(
    server: str = "another", answer: Answer = embed, **options: Any
) -> AsyncIterator[tuple[RecordedServer, EmbeddingServerEngine]]:
    answers = SERVERS[server] | {PATHS.get(server, PATH): embed}
    async with RecordedServer(answers) as recorded:
        upstream = Upstream(url=recorded.url, key="sk-secret", model="all-minilm:latest" if server == "Ollama" else "")
        engine = EmbeddingServerEngine(upstream, **{"slots": 4, "context": 256, **options})
        await engine.start()
        recorded.answers[PATHS.get(server, PATH)] = answer
        recorded.requests.clear()
        yield recorded, engine
        await engine.close()


def job(*inputs: Any, dimensions: int | None = None) -> EmbeddingJob:
    return EmbeddingJob("request", inputs, dimensions)


@pytest.mark.parametrize(
    ("server", "sent"),
    [
        ("vLLM", {"encoding_format": "base64"}),
        ("SGLang", {"encoding_format": "float"}),
        ("TabbyAPI", {"encoding_format": "float"}),
        ("Ollama", {"truncate": False}),
        ("another", {"encoding_format": "float"}),
    ],
)
async def test_what_each_server_is_asked_and_says(server: str, sent: dict[str, Any]) -> None:
    async with running(server) as (recorded, engine):
        assert engine.dimensions == (3,)
        (step,) = await RecordedJob(engine, job("two", "three")).end()
    (body,) = recorded.requests
    model = body.pop("model")
    assert model == ("all-minilm:latest" if server == "Ollama" else "model")
    assert body == {"input": ["two", "three"], **sent}
    assert [vector[0] / vector[2] for vector in step.vectors] == pytest.approx([3, 5])
    assert all(math.isclose(math.hypot(*vector), 1, abs_tol=1e-6) for vector in step.vectors)
    assert step.usage.prompt_tokens == (3 if server == "Ollama" else 2)


async def test_vectors_are_cut_here_whatever_the_server_can_do() -> None:
    async with running(shorter=(2,)) as (recorded, engine):
        (step,) = await RecordedJob(engine, job("two", dimensions=2)).end()
    assert list(step.vectors[0]) == [1, 0]
    assert "dimensions" not in recorded.requests[0]


async def test_a_size_that_vectors_cannot_be_cut_to_is_named_at_the_start() -> None:
    with pytest.raises(SettingsError, match=r"TIERMESH_RUNNER_SHORTER_DIMENSIONS: .* have 3 dimensions"):
        async with running(shorter=(3,)):
            pass


@pytest.mark.parametrize(("server", "taken"), [("vLLM", True), ("SGLang", True), ("Ollama", False), ("another", False)])
async def test_tokens_are_passed_on_or_refused_before_the_work(server: str, taken: bool) -> None:
    async with running(server) as (recorded, engine):
        if taken:
            await RecordedJob(engine, job((1, 2), (3,))).end()
            assert recorded.requests[0]["input"] == [[1, 2], [3]]
        else:
            with pytest.raises(MeshError, match="'input' is not served by this model") as refused:
                RecordedJob(engine, job((1, 2)))
            assert (refused.value.code, refused.value.param) == (Code.INVALID_REQUEST, "input")
            assert not recorded.requests


@pytest.mark.parametrize(
    "answer",
    [
        vectors(["one"]),
        vectors(["one", "two", "three"]),
        {"data": [], "usage": {"prompt_tokens": 1}},
        {"data": [{"index": 0, "embedding": [1, 2, 3]}, {"index": 0, "embedding": [1, 2, 3]}]},
        vectors(["one", "two"], lambda vector: [*vector, 1.0]),
        vectors(["one", "two"], lambda vector: vector[:2]),
        vectors(["one", "two"], lambda vector: []),
        vectors(["one", "two"], lambda vector: [0.0] * 3),
        vectors(["one", "two"], lambda vector: "not base64"),
        vectors(["one", "two"], lambda vector: in_base64([math.nan] * 3)),
        {**vectors(["one", "two"]), "usage": None},
        {"error": "model not loaded"},
        b"<html>",
        b"[" * 100_000,
        b'{"data": "' + b"x" * 400_000 + b'"}',
        refusal(500, {"error": {"message": "CUDA error at http://10.0.0.1/ with sk-secret"}}),
        refusal(404),
    ],
    ids=lambda answer: repr(answer)[:40],
)
async def test_what_is_no_answer_is_a_failure(answer: Answer) -> None:
    async with running(answer=answer) as (recorded, engine):
        with pytest.raises(MeshError, match=r"^The model's server failed\. Try again\.$") as failure:
            await RecordedJob(engine, job("one", "two")).end()
        assert failure.value.code is Code.UNAVAILABLE
        assert engine.active == 0
        assert len(recorded.requests) == 1


async def test_vectors_may_come_in_any_order() -> None:
    turned = vectors(["one", "three"])
    turned["data"].reverse()
    async with running(answer=turned) as (_, engine):
        (step,) = await RecordedJob(engine, job("one", "three")).end()
    assert [vector[0] / vector[2] for vector in step.vectors] == pytest.approx([3, 5])


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (400, "This model's maximum context length is 256 tokens. However, you requested 300 tokens"),
        (400, "the input length exceeds the context length"),
        (400, "The input (300 tokens) is longer than the model's context length (256 tokens)."),
        (500, "input (300 tokens) is too large to process. increase the physical batch size (current: 256)"),
    ],
)
async def test_an_input_that_is_too_long_is_refused_with_the_bound(status: int, said: str) -> None:
    async with running(answer=refusal(status, {"error": {"message": said}})) as (_, engine):
        with pytest.raises(MeshError, match="maximum context length is 256 tokens for each input") as refused:
            await RecordedJob(engine, job("long")).end()
    assert (refused.value.code, refused.value.param) == (Code.CONTEXT_LENGTH_EXCEEDED, "input")


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, Code.INVALID_REQUEST), (422, Code.INVALID_REQUEST), (429, Code.OVERLOADED), (503, Code.OVERLOADED)],
)
async def test_refusals_are_told_in_the_words_of_this_service(status: int, code: Code) -> None:
    async with running(answer=refusal(status, {"detail": "no http://10.0.0.1/ sk-secret"})) as (_, engine):
        with pytest.raises(MeshError) as refused:
            await RecordedJob(engine, job("text")).end()
    assert refused.value.code is code
    assert "sk-secret" not in refused.value.message
    assert "10.0.0.1" not in refused.value.message


async def test_a_cancelled_job_closes_its_connection() -> None:
    async def wait(request: web.Request) -> Answer:
        await asyncio.Event().wait()

    async with running(answer=wait) as (recorded, engine):
        waiting = RecordedJob(engine, job("text"))
        await eventually(lambda: bool(recorded.requests))
        waiting.ticket.cancel()
        assert engine.active == 0
        await eventually(recorded.left.is_set)
        assert waiting.steps == []


async def test_each_part_of_a_long_job_is_progress() -> None:
    async with running() as (recorded, engine):
        long = RecordedJob(engine, job(*("x" * number for number in range(1, 71))))
        (step,) = await long.end()
    assert [len(body["input"]) for body in recorded.requests] == [32, 32, 6]
    assert long.ticket.progress >= 3
    assert [round(vector[0] / vector[2]) for vector in step.vectors] == list(range(1, 71))
