"""The body of POST /v1/embeddings, as OpenAI defines it. Unknown fields are tolerated, wrong types are not."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from services.common.catalog import Model
from services.edge.http.parsing import invalid
from services.edge.text_inputs import TextInput, TextInputs, split_inputs
from tiermesh.runner.v1 import runner_pb2

MOST_INPUTS = 2048


class EmbeddingsBody(Struct, frozen=True):
    """The whole body. None and absent mean the same for every optional field."""

    model: str
    # A text or a list of texts; the tokens of one text or a list of such lists, which are embedded as they are.
    input: TextInputs
    # The official SDKs ask for base64 unless told otherwise, and decode it.
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1, le=2**32 - 1)] | None = None
    # Tolerated: it changes nothing and is kept nowhere.
    user: str | None = None


embeddings_decoder = msgspec.json.Decoder(EmbeddingsBody)


def embeddings_call(body: EmbeddingsBody, model: Model, request_id: str) -> runner_pb2.GenerateCall:
    """Returns the one call for all inputs; raises MeshError INVALID_REQUEST with `param` for what types cannot say.

    How many tokens an input has, and which dimensions there are, only the runner knows.
    """
    inputs = split_inputs(body.input, "input")
    if len(inputs) > MOST_INPUTS:
        raise invalid("input", f"'input' contains {len(inputs)} inputs. Send at most {MOST_INPUTS} per request.")
    task = runner_pb2.EmbeddingTask(inputs=map(_input, inputs), dimensions=body.dimensions or 0)
    return runner_pb2.GenerateCall(request_id=request_id, model=model.id, embedding=task, whole=True)


def _input(given: TextInput) -> runner_pb2.EmbeddingInput:
    if isinstance(given, str):
        return runner_pb2.EmbeddingInput(text=given)
    return runner_pb2.EmbeddingInput(token_ids=given)
