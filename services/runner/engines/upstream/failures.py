"""What the failures of a server mean for a client, in the words of this service: never in the server's own."""

from __future__ import annotations

import re

from services.common.errors import Code, MeshError
from services.runner.refusals import context_exceeded

# llama.cpp has a type for it, TabbyAPI and OpenAI's own API a code, and the others say it in words.
_CONTEXT = re.compile(
    rb"exceed_context_size|context_length_exceeded|maximum context length"
    rb"|(?:exceeds?|longer than|greater than|does not fit in|keep the first)\b[^\"]{0,120}\bcontext\b"
    rb"|\bcontext (?:length|size)\b[^\"]{0,60}\bexceeded",
    re.IGNORECASE,
)
# The tokens of the prompt, where they are said: never those of the context, or of prompt and answer together.
_PROMPT = re.compile(
    rb'"n_prompt_tokens"\s*:\s*(\d+)|\binput \((\d+) tokens\)|\bcontains (?:at least )?(\d+) input tokens'
    rb"|\bPrompt length (\d+) exceeds|\binput has (\d+) tokens|\bkeep the first (\d+) tokens|\bn_keep: (\d+)"
)


def refused(status: int) -> MeshError:
    """Returns what an answer with another status than 200 means that is no refusal of the request itself."""
    if status in {429, 503}:
        return MeshError(Code.OVERLOADED, "The model's server is busy. Try again.", retry_after=1.0)
    return failed()


def broken(said: bytes, context: int) -> MeshError:
    """Returns what an error in place of an answer means: some servers refuse long prompts with status 200.

    `context` is the model's, in tokens.
    """
    return too_long(said, context) or failed()


def says_too_long(said: bytes) -> int | None:
    """Returns how many tokens are too many by a server's words, 0 if it does not say; None if it says nothing of it."""
    if not _CONTEXT.search(said):
        return None
    match = _PROMPT.search(said)
    return int(match[match.lastindex or 0]) if match else 0


def too_long(said: bytes, context: int) -> MeshError | None:
    """Returns the refusal of a conversation that is too long, if that is what the server says."""
    tokens = says_too_long(said)
    if tokens is None:
        return None
    if tokens >= context:
        return context_exceeded(context, tokens)
    return MeshError(
        Code.CONTEXT_LENGTH_EXCEEDED,
        f"This model's maximum context length is {context} tokens. However, your messages and the answer that you "
        "asked for need more. Please reduce the length of 'messages', or 'max_tokens'.",
        param="messages",
    )


def failed() -> MeshError:
    """Returns the failure of a server that cannot be reached, or that broke off."""
    return MeshError(Code.UNAVAILABLE, "The model's server failed. Try again.", retry_after=1.0)
