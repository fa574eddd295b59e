"""The body of POST /v1/chat/completions, as OpenAI defines it. Unknown fields are tolerated, wrong types are not."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

from services.common.limits.chats import (
    BIASES,
    FUNCTION_NAME,
    MIN_PS,
    MOST_MESSAGES,
    MOST_STOPS,
    MOST_TOOLS,
    PENALTIES,
    REPETITION_PENALTIES,
    TEMPERATURES,
    TOP_KS,
    TOP_LOGPROBS,
    TOP_PS,
)
from services.edge.tolerated import ToleratedChatFields

Text = Annotated[str, Meta(max_length=10_000_000)]
Temperature = Annotated[float, Meta(ge=TEMPERATURES.low, le=TEMPERATURES.high)]
TopP = Annotated[float, Meta(ge=TOP_PS.low, le=TOP_PS.high)]
Penalty = Annotated[float, Meta(ge=PENALTIES.low, le=PENALTIES.high)]
TopK = Annotated[int, Meta(ge=int(TOP_KS.low), le=int(TOP_KS.high))]
MinP = Annotated[float, Meta(ge=MIN_PS.low, le=MIN_PS.high)]
RepetitionPenalty = Annotated[float, Meta(gt=REPETITION_PENALTIES.low, le=REPETITION_PENALTIES.high)]
Seed = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Bias = Annotated[float, Meta(ge=BIASES.low, le=BIASES.high)]
TopLogprobs = Annotated[int, Meta(ge=TOP_LOGPROBS.low, le=TOP_LOGPROBS.high)]
Stops: TypeAlias = str | Annotated[list[str], Meta(max_length=MOST_STOPS)]
TokenLimit = Annotated[int, Meta(ge=1, le=1_000_000_000)]
FunctionName = Annotated[str, Meta(pattern=FUNCTION_NAME.pattern)]


class TextPart(Struct, frozen=True, tag="text", tag_field="type"):
    """A part of a message's content."""

    text: Text


class RefusalPart(Struct, frozen=True, tag="refusal", tag_field="type"):
    """A part of an assistant turn that declined to answer."""

    refusal: Text


class ImageUrl(Struct, frozen=True):
    """Where an image is."""

    url: str


class ImagePart(Struct, frozen=True, tag="image_url", tag_field="type"):
    """An image in a message's content."""

    image_url: ImageUrl


class FunctionCall(Struct, frozen=True):
    """What an assistant turn called, in the model's own words: it may have made up a name, or have been cut off."""

    name: str
    arguments: str


class CustomCall(Struct, frozen=True):
    """Which custom tool an assistant turn called, and the text that it was given."""

    name: str
    input: Text


class ToolCall(Struct, frozen=True):
    """A call in an assistant turn: of a function or of a custom tool."""

    id: str
    function: FunctionCall | None = None
    type: Literal["function", "custom"] | None = "function"
    custom: CustomCall | None = None


class Message(Struct, frozen=True):
    """One turn of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Text | list[TextPart | ImagePart | RefusalPart] | None = None
    refusal: Text | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    # How OpenAI called functions before there were tools, and a spoken turn that it has kept: refused with the way out.
    function_call: dict[str, Any] | None = None
    audio: dict[str, Any] | None = None
    # What an assistant turn thought, as it was answered; models that think between calls are shown it again.
    reasoning_content: Text | None = None


class StreamOptions(Struct, frozen=True):
    """What a stream holds beside the answer."""

    include_usage: bool | None = None
    # Random padding that hides how long tokens are from those who watch the network; there is none here.
    include_obfuscation: bool | None = None


class Function(Struct, frozen=True):
    """A function offered to the model."""

    name: FunctionName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Grammar(Struct, frozen=True):
    """What the input of a custom tool follows: a Lark grammar, or a regular expression for the whole of it."""

    definition: str
    syntax: Literal["lark", "regex"]


class CustomFormat(Struct, frozen=True):
    """The input of a custom tool: any text, or one that follows a grammar."""

    type: Literal["text", "grammar"]
    grammar: Grammar | None = None


class CustomTool(Struct, frozen=True):
    """A tool that takes a text, which is not JSON."""

    name: FunctionName
    description: str | None = None
    format: CustomFormat | None = None


class Tool(Struct, frozen=True):
    """A tool offered to the model: a function or a custom tool."""

    function: Function | None = None
    type: Literal["function", "custom"] | None = "function"
    custom: CustomTool | None = None

    @property
    def name(self) -> str:
        """What the model calls it by."""
        tool = self.custom or self.function
        return tool.name if tool else ""


class NamedFunction(Struct, frozen=True):
    """The function, or custom tool, that must be called."""

    name: FunctionName


class NamedTool(Struct, frozen=True):
    """One of the tools that may be called."""

    function: NamedFunction | None = None
    type: Literal["function", "custom"] | None = "function"
    custom: NamedFunction | None = None

    @property
    def name(self) -> str:
        """What the model calls it by."""
        tool = self.custom or self.function
        return tool.name if tool else ""


class AllowedTools(Struct, frozen=True):
    """The tools that may be called; with `required`, one of them must be. The model does not see the others."""

    mode: Literal["auto", "required"]
    tools: Annotated[list[NamedTool], Meta(min_length=1, max_length=MOST_TOOLS)]


class ToolChoice(Struct, frozen=True):
    """The function or custom tool that must be called, or the tools that may be."""

    function: NamedFunction | None = None
    allowed_tools: AllowedTools | None = None
    type: Literal["function", "custom", "allowed_tools"] | None = "function"
    custom: NamedFunction | None = None


class JsonSchema(Struct, frozen=True):
    """OpenAI's wrapper of a schema."""

    schema: dict[str, Any] | None = None
    name: str | None = None
    strict: bool | None = None
    description: str | None = None


class ResponseFormat(Struct, frozen=True):
    """The shape that the answer must have; `schema` beside `type` is bytecompute's spelling."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None
    schema: dict[str, Any] | None = None


class ChatBody(ToleratedChatFields, frozen=True):
    """The whole body. None and absent mean the same for every optional field."""

    model: str
    messages: Annotated[list[Message], Meta(min_length=1, max_length=MOST_MESSAGES)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    n: Annotated[int, Meta(ge=1)] | None = None
    max_tokens: TokenLimit | None = None
    max_completion_tokens: TokenLimit | None = None
    stop: Stops | None = None
    seed: Seed | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    # What clients of open models send in addition to OpenAI's fields.
    top_k: TopK | None = None
    min_p: MinP | None = None
    repetition_penalty: RepetitionPenalty | None = None
    logit_bias: dict[str, Bias] | None = None
    logprobs: bool | None = None
    top_logprobs: TopLogprobs | None = None
    response_format: ResponseFormat | None = None
    tools: Annotated[list[Tool], Meta(max_length=MOST_TOOLS)] | None = None
    tool_choice: Literal["none", "auto", "required"] | ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    modalities: list[Literal["text", "audio"]] | None = None
    # Whether a model thinks is part of its id; `none` turns it off, and how hard is up to the model.
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    # A tool that OpenAI runs itself; refused.
    web_search_options: dict[str, Any] | None = None
    # How OpenAI offered tools before there were any; refused with the way out.
    functions: list[Any] | None = None
    function_call: str | dict[str, Any] | None = None

    @property
    def forced_function(self) -> str | None:
        """The name of the one function or custom tool that must be called."""
        choice = self.tool_choice
        named = (choice.function or choice.custom) if isinstance(choice, ToolChoice) else None
        return named.name if named else None

    @property
    def allowed_functions(self) -> set[str] | None:
        """The names of the functions and custom tools that may be called; None if all may be."""
        choice = self.tool_choice
        if not isinstance(choice, ToolChoice) or choice.allowed_tools is None:
            return None
        return {tool.name for tool in choice.allowed_tools.tools}

    @property
    def tool_mode(self) -> Literal["none", "auto", "required"]:
        """Whether functions may or must be called, of those that are offered."""
        choice = self.tool_choice
        if isinstance(choice, ToolChoice):
            return choice.allowed_tools.mode if choice.allowed_tools else "required"
        return choice or "auto"

    @property
    def offered_tools(self) -> list[Tool]:
        """The tools that the model sees."""
        allowed = self.allowed_functions
        return [tool for tool in self.tools or () if allowed is None or tool.name in allowed]

    @property
    def custom_tools(self) -> frozenset[str]:
        """The names of the custom tools, whose calls are answered as text."""
        return frozenset(tool.custom.name for tool in self.tools or () if tool.custom)

    @property
    def include_usage(self) -> bool:
        """Whether the stream ends with a usage chunk."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    @property
    def stop_strings(self) -> list[str]:
        """The stop strings as a list."""
        if self.stop is None:
            return []
        return [self.stop] if isinstance(self.stop, str) else self.stop


chat_decoder = msgspec.json.Decoder(ChatBody)
