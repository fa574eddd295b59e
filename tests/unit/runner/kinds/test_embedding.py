"""Only valid calls become jobs, and steps become replies."""

from __future__ import annotations

from array import array

import pytest

from services.common.catalog import Model
from services.common.errors import Code, MeshError
from services.runner.kinds.base import TokenCounts, Work
from services.runner.kinds.embedding import EmbeddingJob, EmbeddingReader, EmbeddingStep
from tiermesh.runner.v1 import runner_pb2 as pb

MODEL = Model(id="model", kind="embedding", tier="embedding", price=1, context=512)


def read(*inputs: pb.EmbeddingInput, dimensions: int = 0) -> Work[EmbeddingJob, EmbeddingStep]:
    task = pb.EmbeddingTask(inputs=inputs, dimensions=dimensions)
    call = pb.GenerateCall(id=7, request_id="r", model="model", embedding=task)
    return EmbeddingReader((384, 128)).read(call, MODEL)


def refusal(*inputs: pb.EmbeddingInput, dimensions: int = 0) -> MeshError:
    with pytest.raises(MeshError) as caught:
        read(*inputs, dimensions=dimensions)
    assert caught.value.code is Code.INVALID_REQUEST
    return caught.value


def text(value: str) -> pb.EmbeddingInput:
    return pb.EmbeddingInput(text=value)


def test_texts_and_tokens() -> None:
    assert read(text("a"), pb.EmbeddingInput(token_ids=[1, 2])).job == EmbeddingJob("r", ("a", (1, 2)))


def test_dimensions_are_those_that_there_are() -> None:
    assert read(text("a"), dimensions=384).job.dimensions is None
    assert read(text("a"), dimensions=128).job.dimensions == 128
    wrong = refusal(text("a"), dimensions=100)
    assert wrong.param == "dimensions"
    assert "Use one of: 384, 128" in wrong.message


def test_what_cannot_be_embedded() -> None:
    assert refusal().param == "input"
    assert refusal(text("a"), text("")).param == "input"
    assert "1 to 2048 texts, not 2049" in refusal(*[text("a")] * 2049).message
    with pytest.raises(MeshError, match="only embeds texts"):
        EmbeddingReader((384,)).read(pb.GenerateCall(speech=pb.SpeechTask(input="a")), MODEL)


def test_vectors_become_the_reply() -> None:
    reply = read(text("a"), text("b")).write(EmbeddingStep([array("f", [1, 0]), array("f", [0, 1])], TokenCounts(5, 0)))
    assert reply is not None
    assert [list(embedding.values) for embedding in reply.embeddings] == [[1, 0], [0, 1]]
    assert (reply.id, reply.finish_reason, reply.usage.prompt_tokens) == (7, pb.FINISH_REASON_STOP, 5)


def test_an_error_becomes_the_reply() -> None:
    reply = read(text("a")).write(MeshError(Code.UNAVAILABLE, "gone"))
    assert reply is not None
    assert reply.error.message == "gone"
    assert not reply.finish_reason
