"""The refusals that a runner gives from several places with the same words."""

from __future__ import annotations

from services.common.errors import Code, MeshError


def invalid(message: str, param: str) -> MeshError:
    """Returns the refusal of one request field."""
    return MeshError(Code.INVALID_REQUEST, message, param=param)


def context_exceeded(context: int, prompt_tokens: int) -> MeshError:
    """Returns the refusal of a prompt that leaves no room for an answer, in OpenAI's words."""
    return MeshError(
        Code.CONTEXT_LENGTH_EXCEEDED,
        f"This model's maximum context length is {context} tokens. However, your messages resulted in "
        f"{prompt_tokens} tokens. Please reduce the length of the messages.",
        param="messages",
    )


def slots_taken(slots: int) -> MeshError:
    """Returns the refusal of a job that no slot is free for; another runner, or the same one later, may take it."""
    return MeshError(Code.OVERLOADED, f"all {slots} slots of the runner are taken; try again", retry_after=1.0)


def cache_taken() -> MeshError:
    """Returns the refusal of a job for which the cache has no room now; another runner may have it."""
    return MeshError(Code.OVERLOADED, "the cache of the runner is taken by other requests; try again", retry_after=1.0)


def engine_closed() -> MeshError:
    """Returns the refusal of an engine that is not running."""
    return MeshError(Code.UNAVAILABLE, "the runner's engine is not running; try again", retry_after=1.0)
