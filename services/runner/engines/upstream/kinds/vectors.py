"""The vectors in a server's answer: read, counted, and brought to the length 1 that all vectors have here."""

from __future__ import annotations

import base64
import binascii
import math
import sys
from array import array

import msgspec

from services.runner.engines.upstream.events import UpstreamError
from services.runner.kinds.embedding import Vector


class _Embedding(msgspec.Struct):
    embedding: list[float] | str
    index: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None


class Embeddings(msgspec.Struct):
    """The answer of `/v1/embeddings`, or Ollama's of `/api/embed`, which has fields of its own."""

    data: list[_Embedding] = []
    usage: _Usage | None = None
    embeddings: list[list[float]] = []
    prompt_eval_count: int | None = None

    @property
    def prompt_tokens(self) -> int | None:
        """The tokens of all inputs; None if they are not told."""
        return self.usage.prompt_tokens if self.usage is not None else self.prompt_eval_count


def read_vectors(answer: Embeddings, inputs: int, dimensions: int | None) -> list[Vector]:
    """Returns a vector for each input, in their order; raises UpstreamError unless that is what the answer has.

    Each has `dimensions` components; None takes any number of them, which is the same for all.
    """
    if answer.embeddings:
        found: list[Vector] = [array("f", vector) for vector in answer.embeddings]
    else:
        # Those without a number stay in the order in which they came.
        listed = sorted(answer.data, key=lambda each: each.index or 0)
        if any(each.index not in {None, place} for place, each in enumerate(listed)):
            raise UpstreamError("another number of vectors")
        found = [_decoded(each.embedding) for each in listed]
    if len(found) != inputs:
        raise UpstreamError("another number of vectors")
    wanted = dimensions or len(found[0])
    if any(len(vector) != wanted for vector in found) or not wanted:
        raise UpstreamError("vectors of another size")
    return [of_length_one(vector) for vector in found]


def _decoded(embedding: list[float] | str) -> Vector:
    if not isinstance(embedding, str):
        return array("f", embedding)
    try:
        vector: Vector = array("f", base64.b64decode(embedding, validate=True))
    except (binascii.Error, ValueError) as error:
        raise UpstreamError("vectors that cannot be read") from error
    if sys.byteorder == "big":
        vector.byteswap()
    return vector


def of_length_one(vector: Vector) -> Vector:
    """Returns the vector, or one of the same direction and the length 1; raises UpstreamError if it has none."""
    length = math.hypot(*vector)
    if not (math.isfinite(length) and length > 0):
        raise UpstreamError("vectors without a length")
    # What is as good as 1 in single precision stays as it is.
    return vector if abs(length - 1) < 1e-5 else array("f", (component / length for component in vector))
