"""The refusals that a runner gives from several places with the same words."""

from __future__ import annotations

from services.common.errors import Code, MeshError
from services.common.limits.chats import MOST_SCORED


def invalid(message: str, param: str) -> MeshError:
    """Returns the refusal of one request field."""
    return MeshError(Code.INVALID_REQUEST, message, param=param)


def unchecked(param: str) -> MeshError:
    """Returns the refusal of what an edge never sends: there it is decided what is valid, and in what words."""
    return invalid(f"'{param}' is not valid; a runner takes only requests that an edge has checked.", param)


def context_exceeded(context: int, prompt_tokens: int) -> MeshError:
    """Returns the refusal of a prompt that leaves no room for an answer, in OpenAI's words."""
    return MeshError(
        Code.CONTEXT_LENGTH_EXCEEDED,
        f"This model's maximum context length is {context} tokens. However, your messages resulted in "
        f"{prompt_tokens} tokens. Please reduce the length of 'messages'.",
        param="messages",
    )


def unknown_tokens(param: str) -> MeshError:
    """Returns the refusal of token ids beyond the model's vocabulary."""
    return invalid(f"'{param}' holds token ids that this model does not have; leave them out.", param)


def too_many_scored(count: int) -> MeshError:
    """Returns the refusal of a prompt of which too many tokens are to be scored."""
    bound = f"with 'echo' and 'logprobs' it may have at most {MOST_SCORED:,}"
    return invalid(f"'prompt' has {count:,} tokens; {bound}: send a part of it.", "prompt")


def unlistable(param: str, count: int) -> MeshError:
    """Returns the refusal to list the tokens of a prompt that is too long for it."""
    return invalid(f"'{param}' has {count:,} tokens, which are too many to be listed; send a part of it.", param)


def scored_ends() -> MeshError:
    """Returns the refusal of an end within a prompt that is to be scored, by an engine that would stop there."""
    message = (
        "'prompt' must not hold the token of its end but at its beginning, for 'echo' with 'logprobs'; leave it out."
    )
    return invalid(message, "prompt")


def not_continued() -> MeshError:
    """Returns the refusal to go on after what another runner has said, where that cannot be done faithfully.

    It is no failure of this runner, so it has a code for which no other one is tried, and this one is not ejected.
    """
    message = "the answer was interrupted and could not be continued; try again"
    return MeshError(Code.CANCELLED, message, retry_after=1.0)


def images_refused() -> MeshError:
    """Returns the refusal of images by a model that cannot be shown any."""
    return invalid("'messages' hold images, and this model cannot see images; choose a model with vision.", "messages")


def images_misplaced() -> MeshError:
    """Returns the refusal of images that the chat template drops or repeats."""
    message = "'messages' must hold no images where the chat template of this model has no place for them; move them."
    return invalid(message, "messages")


def not_compiled(param: str, reason: str) -> MeshError:
    """Returns the refusal of a shape of the answer that the compiler of grammars cannot follow, in its own words."""
    return invalid(f"'{param}' cannot be enforced; change the schema. The compiler says: {reason.rstrip('.')}.", param)


def shape_lost() -> MeshError:
    """Returns the failure of an answer that left the shape which it was forced into.

    The schema may be the cause, so its code is one for which no other runner is tried, and this one is not ejected.
    """
    message = "The engine could not keep the required shape of the answer. Try again, or simplify the schema."
    return MeshError(Code.CANCELLED, message, retry_after=1.0)


def tools_not_shown() -> MeshError:
    """Returns the refusal of functions that the chat template does not show to the model."""
    return invalid(
        "'tools' are not shown to the model by its chat template; choose a model that can see them.", "tools"
    )


def not_carried(param: str, reason: str) -> MeshError:
    """Returns the refusal of a shape of calls that the model's format of calls cannot be held to."""
    return invalid(
        f"'{param}' cannot be enforced with this model: {reason}; change it, or choose another model.", param
    )


def not_served(param: str, reason: str) -> MeshError:
    """Returns the refusal of what a model's server does not do."""
    return invalid(f"'{param}' is not served by this model: {reason}. Leave it out, or choose another model.", param)


def uncounted() -> MeshError:
    """Returns the refusal to count the tokens of a prompt that the engine does not write itself."""
    return invalid("The tokens of prompts for this model cannot be counted here. Choose another model.", "model")


def slots_taken(slots: int) -> MeshError:
    """Returns the refusal of a job that no slot is free for; another runner, or the same one later, may take it."""
    return MeshError(Code.OVERLOADED, f"All {slots} slots of the runner are in use. Try again.", retry_after=1.0)


def cache_taken() -> MeshError:
    """Returns the refusal of a job for which the cache has no room now; another runner may have it."""
    return MeshError(Code.OVERLOADED, "Other requests use the whole cache of the runner. Try again.", retry_after=1.0)


def engine_closed() -> MeshError:
    """Returns the refusal of an engine that is not running."""
    return MeshError(Code.UNAVAILABLE, "The runner's engine is not running. Try again.", retry_after=1.0)


def counts_wait() -> MeshError:
    """Returns the refusal to count while too many other prompts wait for it."""
    message = "Too many prompts wait to be counted. Try again."
    return MeshError(Code.OVERLOADED, message, retry_after=1.0)
