"""What the failures of a server mean for a client, in the words of this service: never in the server's own."""

from __future__ import annotations

import re

import msgspec

from services.common.errors import Code, MeshError
from services.runner.refusals import context_exceeded

# llama.cpp has a type for it, OpenAI's own API and others a code, and vLLM and SGLang say it in words.
_CONTEXT = re.compile(
    rb"exceed_context_size|context_length_exceeded|maximum context length|longer than the model", re.IGNORECASE
)
_PROMPT = re.compile(rb'"n_prompt_tokens"\s*:\s*(\d+)|(\d+)\s+(?:input\s+)?tokens')


class _Body(msgspec.Struct):
    error: msgspec.Raw = msgspec.Raw(b"")


def refused(status: int, body: bytes, context: int) -> MeshError:
    """Returns what an answer with another status than 200 means; `context` is the model's, in tokens."""
    if status in {400, 413, 422} and _CONTEXT.search(body):
        match = _PROMPT.search(body)
        return context_exceeded(context, int(match[1] or match[2]) if match else context)
    if status in {400, 422}:
        message = "The model's server does not take this request. Send fewer fields, or choose another model."
        return MeshError(Code.INVALID_REQUEST, message)
    if status in {429, 503}:
        return MeshError(Code.OVERLOADED, "The model's server is busy. Try again.", retry_after=1.0)
    return failed()


def failed() -> MeshError:
    """Returns the failure of a server that cannot be reached, or that broke off."""
    return MeshError(Code.UNAVAILABLE, "The model's server failed. Try again.", retry_after=1.0)
