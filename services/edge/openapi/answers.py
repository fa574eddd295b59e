"""What the answers of the paid endpoints look like.

They are rendered piece by piece, for speed, by the `response.py` of each endpoint; these types describe the outcome and
tests hold the two together.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

FinishReason = Literal["stop", "length", "tool_calls"]


class Likelihood(Struct, frozen=True, forbid_unknown_fields=True):
    """A token and the natural logarithm of its probability."""

    token: str
    logprob: float
    bytes: list[int] | None


class TokenLogprob(Struct, frozen=True, forbid_unknown_fields=True):
    """A token of the answer with the likeliest alternatives in its place."""

    token: str
    logprob: float
    bytes: list[int] | None
    top_logprobs: list[Likelihood]


class Logprobs(Struct, frozen=True, forbid_unknown_fields=True):
    """The tokens of a choice."""

    content: list[TokenLogprob] | None
    refusal: list[TokenLogprob] | None


class CalledFunction(Struct, frozen=True, forbid_unknown_fields=True):
    """What to call; `arguments` is JSON."""

    name: str
    arguments: str


class CompletedToolCall(Struct, frozen=True, forbid_unknown_fields=True):
    """A call that the model asks for."""

    id: str
    function: CalledFunction
    type: Literal["function"]


class AnswerMessage(Struct, frozen=True, forbid_unknown_fields=True):
    """The model's turn."""

    role: Literal["assistant"]
    content: str | None
    refusal: str | None
    annotations: list[Any]
    reasoning_content: str | UnsetType = UNSET
    tool_calls: list[CompletedToolCall] | UnsetType = UNSET


class Choice(Struct, frozen=True, forbid_unknown_fields=True):
    """One of the answers."""

    index: int
    message: AnswerMessage
    logprobs: Logprobs | None
    finish_reason: FinishReason


class PromptTokens(Struct, frozen=True):
    """How many tokens of the prompt were known from an earlier request."""

    cached_tokens: int


class AnswerTokens(Struct, frozen=True):
    """How many tokens of the answer were thoughts."""

    reasoning_tokens: int


class TokenUsage(Struct, frozen=True):
    """How many tokens a request has taken."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokens
    completion_tokens_details: AnswerTokens


class ChatCompletion(Struct, frozen=True, forbid_unknown_fields=True):
    """A whole answer."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: TokenUsage
    service_tier: str | None
    system_fingerprint: str


class FunctionDelta(Struct, frozen=True, forbid_unknown_fields=True):
    """A fragment of a call's arguments; the first one has the name."""

    arguments: str
    name: str | UnsetType = UNSET


class ToolCallDelta(Struct, frozen=True, forbid_unknown_fields=True):
    """A fragment of a call; the first one has its id."""

    index: int
    function: FunctionDelta
    id: str | UnsetType = UNSET
    type: Literal["function"] | UnsetType = UNSET


class Delta(Struct, frozen=True, forbid_unknown_fields=True):
    """What a chunk adds to a choice."""

    role: Literal["assistant"] | UnsetType = UNSET
    content: str | UnsetType = UNSET
    refusal: str | UnsetType | None = UNSET
    reasoning_content: str | UnsetType = UNSET
    tool_calls: list[ToolCallDelta] | UnsetType = UNSET


class ChunkChoice(Struct, frozen=True, forbid_unknown_fields=True):
    """The part of a chunk for one choice."""

    index: int
    delta: Delta
    logprobs: Logprobs | None
    finish_reason: FinishReason | None


class Charge(Struct, frozen=True, forbid_unknown_fields=True):
    """What a request has cost, and what is left."""

    credits_charged: int
    credits_remaining: int


class ChatCompletionChunk(Struct, frozen=True, forbid_unknown_fields=True):
    """One event of a stream; with `include_usage`, the last has no choices but the usage and the charge."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChunkChoice]
    service_tier: str | None
    system_fingerprint: str
    usage: TokenUsage | UnsetType | None = UNSET
    tiermesh: Charge | UnsetType = UNSET


class TextLogprobs(Struct, frozen=True, forbid_unknown_fields=True):
    """The tokens of a text and where they begin in it, in characters."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class TextChoice(Struct, frozen=True, forbid_unknown_fields=True):
    """One of the continuations, or in a stream what is added to it."""

    text: str
    index: int
    logprobs: TextLogprobs | None
    finish_reason: FinishReason | None


class TextCompletion(Struct, frozen=True, forbid_unknown_fields=True):
    """A whole continuation, or one event of a stream."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[TextChoice]
    system_fingerprint: str
    usage: TokenUsage | UnsetType | None = UNSET
    tiermesh: Charge | UnsetType = UNSET


class Response(Struct, frozen=True):
    """An answer of the Responses API, with what was asked; OpenAI's reference describes every kind of item."""

    id: str
    object: Literal["response"]
    created_at: int
    status: Literal["completed", "incomplete", "failed", "in_progress"]
    model: str
    output: list[dict[str, Any]]
    usage: dict[str, Any] | None
    error: dict[str, Any] | None
    incomplete_details: dict[str, str] | None


class EmbeddingUsage(Struct, frozen=True, forbid_unknown_fields=True):
    """How many tokens the inputs had."""

    prompt_tokens: int
    total_tokens: int


class Embedding(Struct, frozen=True, forbid_unknown_fields=True):
    """A vector: numbers, or the base64 of little-endian floats of 32 bits."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingList(Struct, frozen=True, forbid_unknown_fields=True):
    """A vector for each input, in their order."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage


class Image(Struct, frozen=True, forbid_unknown_fields=True):
    """An image, either by URL or as base64."""

    url: str = ""
    b64_json: str = ""


class ImageList(Struct, frozen=True, forbid_unknown_fields=True):
    """The images of a request."""

    created: int
    data: list[Image]
    output_format: str


class TranscriptUsage(Struct, frozen=True):
    """How long the recording is."""

    type: Literal["duration"]
    seconds: float


class Transcription(Struct, frozen=True):
    """What was said; `verbose_json` adds the language, the duration and when each phrase or word was said."""

    text: str
    usage: TranscriptUsage
    task: Literal["transcribe"] | UnsetType = UNSET
    language: str | UnsetType = UNSET
    duration: float | UnsetType = UNSET
    segments: list[dict[str, Any]] | UnsetType = UNSET
    words: list[dict[str, Any]] | UnsetType = UNSET
