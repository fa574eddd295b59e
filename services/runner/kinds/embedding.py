"""Embeddings: texts in, one vector for each out."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeAlias, runtime_checkable

from services.common.catalog import Model
from services.common.errors import Code, MeshError
from services.common.limits.json_counts import MOST_COUNTS
from services.runner.engines.base import Engine
from services.runner.kinds.base import FinishReason, TokenCounts, Work
from services.runner.refusals import invalid, unchecked
from tiermesh.runner.v1 import runner_pb2
from tiermesh.runner.v1.runner_pb2 import GenerateCall, GenerateReply

MOST_INPUTS = 2048

# A text, or the model's tokens.
EmbeddingInput: TypeAlias = str | tuple[int, ...]
# Single-precision components, of length 1 together.
Vector: TypeAlias = "array[float]"


@dataclass(frozen=True, slots=True)
class EmbeddingJob:
    """Texts to embed; neither the list nor any of them is empty."""

    # For logs only.
    request_id: str
    inputs: tuple[EmbeddingInput, ...]
    # Components that each vector is cut to; None keeps all.
    dimensions: int | None = None


@dataclass(slots=True)
class EmbeddingStep:
    """The one step of a job: a vector for each input, in order."""

    vectors: list[Vector]
    usage: TokenCounts | None
    finish_reason: FinishReason | None = FinishReason.STOP


@runtime_checkable
class EmbeddingEngine(Engine[EmbeddingJob, EmbeddingStep], Protocol):
    """Embeds texts."""

    @property
    def dimensions(self) -> tuple[int, ...]:
        """The sizes that its vectors can have, the model's own first; known after `start`."""


class EmbeddingReader:
    """Reads the calls for an engine whose vectors can have the sizes `dimensions`, the model's own first."""

    def __init__(self, dimensions: Sequence[int]) -> None:
        self._dimensions = tuple(dimensions)

    def read(self, call: GenerateCall, model: Model) -> Work[EmbeddingJob, EmbeddingStep]:
        """Returns the work; raises MeshError INVALID_REQUEST, with `param`, for what is wrong with the call."""
        del model
        if call.WhichOneof("task") != "embedding":
            raise invalid("The model of this runner only embeds texts. Use POST /v1/embeddings.", "model")
        if not 1 <= len(call.embedding.inputs) <= MOST_INPUTS:
            raise invalid(f"'input' must contain 1 to {MOST_INPUTS} texts, not {len(call.embedding.inputs)}.", "input")
        if sum(len(given.token_ids) for given in call.embedding.inputs) > MOST_COUNTS.values:
            raise unchecked("input")
        job = EmbeddingJob(
            request_id=call.request_id,
            inputs=tuple(map(_read_input, call.embedding.inputs)),
            dimensions=self._read_dimensions(call.embedding.dimensions),
        )
        return Work(job, partial(_write, call.id))

    def _read_dimensions(self, wanted: int) -> int | None:
        if wanted and wanted not in self._dimensions:
            sizes = ", ".join(map(str, self._dimensions))
            raise invalid(
                f"Vectors of this model cannot have {wanted} 'dimensions'. Use one of: {sizes}.", "dimensions"
            )
        return wanted if wanted and wanted != self._dimensions[0] else None


def input_too_long(index: int, tokens: int, context: int) -> MeshError:
    """Returns the refusal of an input that the model cannot take in; `index` counts from 0."""
    return MeshError(
        Code.CONTEXT_LENGTH_EXCEEDED,
        f"This model's maximum context length is {context} tokens for each input. However, input {index} has {tokens} "
        "tokens. Please shorten it, or split it into several inputs.",
        param="input",
    )


def _read_input(given: runner_pb2.EmbeddingInput) -> EmbeddingInput:
    if not given.text and not given.token_ids:
        raise invalid("'input' must not contain an empty text.", "input")
    return given.text or tuple(given.token_ids)


def _write(call_id: int, step: EmbeddingStep | MeshError) -> GenerateReply:
    if isinstance(step, MeshError):
        return GenerateReply(id=call_id, error=step.to_proto())
    reply = GenerateReply(id=call_id, finish_reason=runner_pb2.FINISH_REASON_STOP)
    if step.usage is not None:
        reply.usage.prompt_tokens = step.usage.prompt_tokens
    for vector in step.vectors:
        reply.embeddings.add().values.extend(vector)
    return reply
