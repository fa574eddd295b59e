"""What is rendered is what OpenAI's own type accepts, and both encodings say the same."""

from __future__ import annotations

import base64
import json
import struct

from openai.types import CreateEmbeddingResponse

from services.edge.embeddings.response import embeddings_body
from tiermesh.runner.v1 import runner_pb2 as pb

VECTORS = [[0.1, -0.25], [1e-7, 3.0]]
REPLY = pb.GenerateReply(
    embeddings=[pb.Embedding(values=vector) for vector in VECTORS], usage=pb.Usage(prompt_tokens=5)
)


def test_numbers() -> None:
    body = CreateEmbeddingResponse.model_validate_json(embeddings_body("m", [REPLY], as_base64=False), strict=True)
    assert (body.object, body.model, body.usage.prompt_tokens, body.usage.total_tokens) == ("list", "m", 5, 5)
    assert [(entry.object, entry.index) for entry in body.data] == [("embedding", 0), ("embedding", 1)]
    assert body.data[0].embedding == list(struct.unpack("<2f", struct.pack("<2f", *VECTORS[0])))


def test_base64_holds_the_same_numbers() -> None:
    numbers = json.loads(embeddings_body("m", [REPLY], as_base64=False))["data"]
    encoded = json.loads(embeddings_body("m", [REPLY], as_base64=True))["data"]
    for one, other in zip(numbers, encoded, strict=True):
        assert list(struct.unpack("<2f", base64.b64decode(other["embedding"]))) == one["embedding"]
