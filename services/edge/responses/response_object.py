"""The response object of OpenAI's Responses API. Whole bodies, and events about a whole response, are made of it."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from msgspec import UNSET, Struct, UnsetType

from services.edge.paid.delivery import AnswerTokens, ChargedCredits
from services.edge.responses.request import GrammarFormat, ToolChoice


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


class UsedFunction(Struct, frozen=True, tag="function", tag_field="type"):
    """A function that the model was shown."""

    name: str
    description: str | None
    parameters: dict[str, Any] | None
    strict: bool | None


class UsedCustomTool(Struct, frozen=True, tag="custom", tag_field="type"):
    """A custom tool that the model was shown."""

    name: str
    format: GrammarFormat
    description: str | UnsetType = UNSET


class UsedNamespace(Struct, frozen=True, tag="namespace", tag_field="type"):
    """Tools of one namespace that the model was shown."""

    name: str
    description: str
    tools: list[UsedFunction | UsedCustomTool]


UsedTool: TypeAlias = UsedFunction | UsedCustomTool | UsedNamespace


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
    tools: list[UsedTool]
    top_logprobs: int
    top_p: float
    truncation: str
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    # Null, not absent, where there is nothing: https://www.openresponses.org requires them; of `usage` that is until
    # the end.
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None
    usage: ResponseUsage | None = None
    # What OpenAI's schema allows to be absent, but not null.
    user: str | UnsetType = UNSET
    # In the last event of a stream.
    tiermesh: ChargedCredits | UnsetType = UNSET
