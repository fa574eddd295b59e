"""The response object of OpenAI's Responses API. Whole bodies, and events about a whole response, are made of it."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

from services.edge.paid.delivery import AnswerTokens, ChargedCredits
from services.edge.responses.request import Tool, ToolChoice


class InputTokens(Struct, frozen=True):
    """How many tokens of the input were known from an earlier request, and how many were kept for a later one."""

    cached_tokens: int
    cache_write_tokens: int


class ResponseUsage(Struct, frozen=True, kw_only=True):
    """How many tokens a response has taken."""

    input_tokens: int
    input_tokens_details: InputTokens
    output_tokens: int
    output_tokens_details: AnswerTokens
    total_tokens: int


class ResponseError(Struct, frozen=True):
    """Why a response failed; `param` names the field at fault, if it is one."""

    code: str
    message: str
    param: str | None


class IncompleteDetails(Struct, frozen=True):
    """Why a response ends too early."""

    reason: Literal["max_output_tokens"]


class ResponseReasoning(Struct, frozen=True):
    """How the model was asked to think."""

    effort: str | None
    summary: str | None


class ResponseText(Struct, frozen=True):
    """How the answer was asked to be written."""

    format: dict[str, Any]
    verbosity: str


class Response(Struct, frozen=True, kw_only=True):
    """An answer of the Responses API, with what was asked; OpenAI's reference describes every kind of item."""

    id: str
    object: Literal["response"]
    created_at: int
    status: Literal["completed", "incomplete", "failed", "in_progress"]
    completed_at: int | None
    background: bool
    error: ResponseError | None
    incomplete_details: IncompleteDetails | None
    instructions: str | None
    max_output_tokens: int | None
    max_tool_calls: int | None
    metadata: dict[str, str]
    model: str
    output: list[dict[str, Any]]
    parallel_tool_calls: bool
    previous_response_id: str | None
    reasoning: ResponseReasoning
    service_tier: str
    store: bool
    temperature: float
    text: ResponseText
    tool_choice: Literal["none", "auto", "required"] | ToolChoice
    tools: list[Tool]
    top_logprobs: int
    top_p: float
    truncation: str
    # What OpenAI's schema allows to be absent, but not null; of `usage` that is true too, until the end.
    prompt_cache_key: str | UnsetType = UNSET
    safety_identifier: str | UnsetType = UNSET
    user: str | UnsetType = UNSET
    usage: ResponseUsage | UnsetType = UNSET
    # In the last event of a stream.
    tiermesh: ChargedCredits | UnsetType = UNSET
