"""The body that answers POST /v1/embeddings, as OpenAI defines it."""

from __future__ import annotations

import base64
import struct
from typing import Any

import msgspec

from tiermesh.runner.v1.runner_pb2 import Embedding, GenerateReply


def embeddings_body(model: str, replies: list[GenerateReply], *, as_base64: bool) -> bytes:
    """Returns the whole body; `replies` holds the one reply, with a vector for each input."""
    (reply,) = replies
    tokens = reply.usage.prompt_tokens
    return msgspec.json.encode(
        {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": _vector(embedding, as_base64=as_base64)}
                for index, embedding in enumerate(reply.embeddings)
            ],
            "model": model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
    )


def _vector(embedding: Embedding, *, as_base64: bool) -> Any:
    """Returns the components as numbers, or as the base64 of little-endian single-precision ones."""
    if not as_base64:
        return list(embedding.values)
    return base64.b64encode(struct.pack(f"<{len(embedding.values)}f", *embedding.values)).decode()
