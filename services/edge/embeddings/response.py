"""The body that answers POST /v1/embeddings, as OpenAI defines it."""

from __future__ import annotations

import base64
import struct
from typing import Literal

import msgspec
from msgspec import Struct

from tiermesh.runner.v1.runner_pb2 import Embedding, GenerateReply


class EmbeddingUsage(Struct, frozen=True, forbid_unknown_fields=True):
    """How many tokens the inputs had."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingVector(Struct, frozen=True, forbid_unknown_fields=True):
    """A vector: numbers, or the base64 of little-endian floats of 32 bits."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingList(Struct, frozen=True, forbid_unknown_fields=True):
    """A vector for each input, in their order."""

    object: Literal["list"]
    data: list[EmbeddingVector]
    model: str
    usage: EmbeddingUsage


def embeddings_body(model: str, replies: list[GenerateReply], *, as_base64: bool) -> bytes:
    """Returns the whole body; `replies` holds the one reply, with a vector for each input."""
    (reply,) = replies
    tokens = reply.usage.prompt_tokens
    data = [
        EmbeddingVector("embedding", index, _vector(embedding, as_base64=as_base64))
        for index, embedding in enumerate(reply.embeddings)
    ]
    return msgspec.json.encode(EmbeddingList("list", data, model, EmbeddingUsage(tokens, tokens)))


def _vector(embedding: Embedding, *, as_base64: bool) -> list[float] | str:
    """Returns the components as numbers, or as the base64 of little-endian single-precision ones."""
    if not as_base64:
        return list(embedding.values)
    return base64.b64encode(struct.pack(f"<{len(embedding.values)}f", *embedding.values)).decode()
