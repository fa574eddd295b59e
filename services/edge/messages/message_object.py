"""The message that answers POST /v1/messages, as Anthropic defines it, whole or at the beginning of a stream."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from msgspec import Struct

StopReason: TypeAlias = Literal["end_turn", "max_tokens", "stop_sequence", "tool_use"]


class DirectCaller(Struct, frozen=True, tag="direct", tag_field="type"):
    """Who asks for a call: the model itself, and not a program of its."""


class TextContent(Struct, frozen=True, tag="text", tag_field="type"):
    """What the model says."""

    text: str
    citations: None = None


class ThinkingContent(Struct, frozen=True, tag="thinking", tag_field="type"):
    """How the model reasons; the signature proves that it did, when the block is sent back."""

    thinking: str
    signature: str


class ToolUseContent(Struct, frozen=True, tag="tool_use", tag_field="type"):
    """A call that the model asks for."""

    id: str
    name: str
    input: dict[str, Any]
    caller: DirectCaller = DirectCaller()


Content: TypeAlias = TextContent | ThinkingContent | ToolUseContent


class CacheCreation(Struct, frozen=True):
    """How many tokens were written to the cache for some minutes; nothing is kept for a time that was asked for."""

    ephemeral_5m_input_tokens: int = 0
    ephemeral_1h_input_tokens: int = 0


class OutputTokens(Struct, frozen=True):
    """How many tokens of the answer were reasoning."""

    thinking_tokens: int


class MessageUsage(Struct, frozen=True, kw_only=True):
    """How many tokens a message has taken. Those that were read from a cache are no input tokens."""

    input_tokens: int
    cache_read_input_tokens: int
    output_tokens: int
    output_tokens_details: OutputTokens
    # What is read for the first time is an input token, whether it is kept or not.
    cache_creation_input_tokens: int = 0
    cache_creation: CacheCreation = CacheCreation()
    server_tool_use: None = None
    service_tier: Literal["standard"] = "standard"


class AnthropicMessage(Struct, frozen=True, kw_only=True):
    """The model's turn."""

    id: str
    type: Literal["message"] = "message"
    role: Literal["assistant"] = "assistant"
    model: str
    content: list[Content]
    stop_reason: StopReason | None
    # Which of the strings that end an answer has ended this one.
    stop_sequence: str | None
    usage: MessageUsage
