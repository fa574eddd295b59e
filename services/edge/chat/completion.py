"""A chat completion and the chunks of a streamed one, as OpenAI defines them.

Whole bodies are rendered from these types. Chunks are put together from bytes, for speed, and tests hold them to the
types.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

from services.edge.paid.delivery import ChargedCredits, TokenUsage

FinishReason = Literal["stop", "length", "tool_calls"]


class ChatTopLogprob(Struct, frozen=True, forbid_unknown_fields=True):
    """A token that could have stood in a place, and the natural logarithm of its probability there."""

    token: str
    logprob: float
    bytes: list[int] | None


class ChatTokenLogprob(Struct, frozen=True, forbid_unknown_fields=True):
    """A token of the answer with the likeliest alternatives in its place."""

    token: str
    logprob: float
    bytes: list[int] | None
    top_logprobs: list[ChatTopLogprob]


class ChatLogprobs(Struct, frozen=True, forbid_unknown_fields=True):
    """The tokens of a choice."""

    content: list[ChatTokenLogprob] | None
    refusal: list[ChatTokenLogprob] | None


class CalledFunction(Struct, frozen=True, forbid_unknown_fields=True):
    """What to call; `arguments` is JSON."""

    name: str
    arguments: str


class CompletedToolCall(Struct, frozen=True, forbid_unknown_fields=True, tag="function", tag_field="type"):
    """A call of a function that the model asks for."""

    id: str
    function: CalledFunction


class CalledCustomTool(Struct, frozen=True, forbid_unknown_fields=True):
    """Which custom tool to call, and the text for it."""

    name: str
    input: str


class CompletedCustomCall(Struct, frozen=True, forbid_unknown_fields=True, tag="custom", tag_field="type"):
    """A call of a custom tool that the model asks for."""

    id: str
    custom: CalledCustomTool


class AssistantMessage(Struct, frozen=True, forbid_unknown_fields=True):
    """The model's turn."""

    role: Literal["assistant"]
    content: str | None
    refusal: str | None
    annotations: list[Any]
    reasoning_content: str | UnsetType = UNSET
    tool_calls: list[CompletedToolCall | CompletedCustomCall] | UnsetType = UNSET


class ChatChoice(Struct, frozen=True, forbid_unknown_fields=True):
    """One of the answers."""

    index: int
    message: AssistantMessage
    logprobs: ChatLogprobs | None
    finish_reason: FinishReason


class ChatCompletion(Struct, frozen=True, forbid_unknown_fields=True):
    """A whole answer."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: TokenUsage
    service_tier: str
    system_fingerprint: str


class FunctionDelta(Struct, frozen=True, forbid_unknown_fields=True):
    """A fragment of a call's arguments; the first one has the name."""

    arguments: str
    name: str | UnsetType = UNSET


class CustomDelta(Struct, frozen=True, forbid_unknown_fields=True):
    """A fragment of the text for a custom tool; the first one has the name."""

    input: str
    name: str | UnsetType = UNSET


class ChatToolCallDelta(Struct, frozen=True, forbid_unknown_fields=True):
    """A fragment of a call of a function or a custom tool; the first one has its id."""

    index: int
    function: FunctionDelta | UnsetType = UNSET
    id: str | UnsetType = UNSET
    type: Literal["function", "custom"] | UnsetType = UNSET
    custom: CustomDelta | UnsetType = UNSET


class ChatDelta(Struct, frozen=True, forbid_unknown_fields=True):
    """What a chunk adds to a choice."""

    role: Literal["assistant"] | UnsetType = UNSET
    content: str | UnsetType = UNSET
    refusal: str | UnsetType | None = UNSET
    reasoning_content: str | UnsetType = UNSET
    tool_calls: list[ChatToolCallDelta] | UnsetType = UNSET


class ChunkChoice(Struct, frozen=True, forbid_unknown_fields=True):
    """The part of a chunk for one choice."""

    index: int
    delta: ChatDelta
    logprobs: ChatLogprobs | None
    finish_reason: FinishReason | None


class ChatCompletionChunk(Struct, frozen=True, forbid_unknown_fields=True):
    """One event of a stream; with `include_usage`, the last has no choices but the usage and the charge."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChunkChoice]
    service_tier: str
    system_fingerprint: str
    usage: TokenUsage | UnsetType | None = UNSET
    tiermesh: ChargedCredits | UnsetType = UNSET
