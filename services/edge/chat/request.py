"""The body of POST /v1/chat/completions, as OpenAI defines it. Unknown fields are tolerated, wrong types are not."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from services.edge.http.parsing import invalid
from services.edge.tolerated import ToleratedChatFields

Text = Annotated[str, Meta(max_length=10_000_000)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
TokenLimit = Annotated[int, Meta(ge=1, le=1_000_000_000)]
FunctionName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]


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


class ToolCall(Struct, frozen=True):
    """A call in an assistant turn."""

    id: str
    function: FunctionCall
    type: Literal["function"] = "function"


class Message(Struct, frozen=True):
    """One turn of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Text | list[TextPart | ImagePart | RefusalPart] | None = None
    refusal: Text | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None


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


class Tool(Struct, frozen=True):
    """A tool offered to the model."""

    function: Function
    type: Literal["function"] = "function"


class NamedFunction(Struct, frozen=True):
    """The function that must be called."""

    name: FunctionName


class NamedTool(Struct, frozen=True):
    """The tool that must be called."""

    function: NamedFunction
    type: Literal["function"] = "function"


class JsonSchema(Struct, frozen=True):
    """OpenAI's wrapper of a schema."""

    schema: dict[str, Any] | None = None
    name: str | None = None
    strict: bool | None = None


class ResponseFormat(Struct, frozen=True):
    """The shape that the answer must have; `schema` beside `type` is bytecompute's spelling."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None
    schema: dict[str, Any] | None = None


class ChatBody(ToleratedChatFields, frozen=True):
    """The whole body. None and absent mean the same for every optional field."""

    model: str
    messages: Annotated[list[Message], Meta(min_length=1, max_length=10_000)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    n: Annotated[int, Meta(ge=1)] | None = None
    max_tokens: TokenLimit | None = None
    max_completion_tokens: TokenLimit | None = None
    stop: str | Annotated[list[str], Meta(max_length=4)] | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: dict[str, Annotated[float, Meta(ge=-100, le=100)]] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    response_format: ResponseFormat | None = None
    tools: Annotated[list[Tool], Meta(max_length=128)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    modalities: list[Literal["text", "audio"]] | None = None
    # Whether a model thinks is part of its id; `none` turns it off, and how hard is up to the model.
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    # How OpenAI offered tools before there were any; refused with the way out.
    functions: list[Any] | None = None
    function_call: str | dict[str, Any] | None = None

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


def check_chat(body: ChatBody, *, max_choices: int, vision: bool) -> None:
    """Checks what types cannot say; raises MeshError INVALID_REQUEST with `param`."""
    if (body.n or 1) > max_choices:
        raise invalid("n", f"'n' is {body.n}; at most {max_choices} choices are made for one request.")
    if body.top_logprobs is not None and not body.logprobs:
        raise invalid("top_logprobs", "'top_logprobs' needs 'logprobs' to be true.")
    if body.stream_options is not None and not body.stream:
        raise invalid("stream_options", "'stream_options' needs 'stream' to be true.")
    if any(not stop for stop in body.stop_strings):
        raise invalid("stop", "A stop string must not be empty.")
    for key in body.logit_bias or ():
        # The length first: Python refuses to read numbers of thousands of digits.
        if not (len(key) <= 10 and key.isascii() and key.isdigit() and int(key) < 2**32):
            raise invalid("logit_bias", "The keys of 'logit_bias' are token ids: whole numbers from 0 on.")
    if "audio" in (body.modalities or ()):
        raise invalid("modalities", "The models answer in text only; for speech use POST /v1/audio/speech.")
    _check_tools(body)
    _check_format(body)
    for index, message in enumerate(body.messages):
        _check_message(f"messages[{index}]", message, vision=vision)


def _check_tools(body: ChatBody) -> None:
    if body.functions:
        raise invalid("functions", "'functions' was replaced in OpenAI's API by 'tools'; send that instead.")
    if body.function_call not in (None, "none", "auto"):
        raise invalid("function_call", "'function_call' was replaced in OpenAI's API by 'tool_choice'; send that.")
    names = [tool.function.name for tool in body.tools or ()]
    if len(set(names)) < len(names):
        raise invalid("tools", "Two tools have the same name.")
    # What agents send that have no tools (yet) is what holds without any.
    if body.tool_choice not in {None, "none", "auto"} and not names:
        raise invalid("tool_choice", "'tool_choice' needs 'tools'.")
    if isinstance(body.tool_choice, NamedTool) and body.tool_choice.function.name not in names:
        raise invalid("tool_choice", "'tool_choice' names a function that is not in 'tools'.")


def _check_format(body: ChatBody) -> None:
    wanted = body.response_format
    if wanted is None or wanted.type != "json_schema":
        return
    if wanted.schema is None and (wanted.json_schema is None or wanted.json_schema.schema is None):
        raise invalid("response_format", "A 'json_schema' format needs the schema in 'json_schema.schema'.")


def _check_message(place: str, message: Message, *, vision: bool) -> None:
    if message.content is None and not (message.role == "assistant" and (message.tool_calls or message.refusal)):
        raise invalid(f"{place}.content", f"A message of role '{message.role}' needs 'content'.")
    if message.role == "tool" and not message.tool_call_id:
        raise invalid(f"{place}.tool_call_id", "A message of role 'tool' needs the 'tool_call_id' that it answers.")
    if message.role != "assistant" and _has_part(message, RefusalPart):
        raise invalid(f"{place}.content", "Only a message of role 'assistant' has parts of type 'refusal'.")
    if not vision and _has_part(message, ImagePart):
        raise invalid(f"{place}.content", "This model cannot see images; choose one with vision.")


def _has_part(message: Message, kind: type[Struct]) -> bool:
    return isinstance(message.content, list) and any(isinstance(part, kind) for part in message.content)
