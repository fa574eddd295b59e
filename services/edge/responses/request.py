"""The body of POST /v1/responses, as OpenAI defines it. Unknown fields are tolerated, wrong types are not."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

from services.common.errors import MeshError
from services.common.limits.chats import MOST_MESSAGES, MOST_TOOLS
from services.edge.chat.request import (
    Bias,
    FunctionName,
    MinP,
    Penalty,
    RepetitionPenalty,
    Seed,
    Stops,
    Temperature,
    Text,
    TokenLimit,
    TopK,
    TopLogprobs,
    TopP,
)
from services.edge.http.parsing import parse_body
from services.edge.responses.foreign_items import is_foreign, readable_item, readable_tool
from services.edge.tolerated import ToleratedFields

Include = Literal[
    "message.output_text.logprobs",
    "reasoning.encrypted_content",
    # What follows belongs to tools that OpenAI runs itself: there is never anything to include.
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
]


class InputText(Struct, frozen=True, tag="input_text", tag_field="type"):
    """Text for the model."""

    text: Text


class OutputText(Struct, frozen=True, tag="output_text", tag_field="type"):
    """Text that the model has said before."""

    text: Text


class Refusal(Struct, frozen=True, tag="refusal", tag_field="type"):
    """What a model has said before instead of an answer."""

    refusal: Text


class InputImage(Struct, frozen=True, tag="input_image", tag_field="type"):
    """An image by URL; there are no files to name by id."""

    image_url: str | None = None
    file_id: str | None = None
    detail: str | None = None


class InputFile(Struct, frozen=True, tag="input_file", tag_field="type"):
    """A file, which no model here can read."""


class ReasoningText(Struct, frozen=True, tag="reasoning_text", tag_field="type"):
    """Reasoning of an earlier answer."""

    text: Text


class SummaryText(Struct, frozen=True):
    """A part of the summary of earlier reasoning; clients may leave its type out."""

    text: Text | None = None


Part: TypeAlias = InputText | OutputText | Refusal | InputImage | InputFile | ReasoningText


class Item(Struct, frozen=True):
    """One item of the input: which fields it has depends on its type, and a message needs none.

    One struct for all, because OpenAI lets the types of messages and references be left out.
    """

    type: str | None = None
    id: str | None = None
    role: Literal["user", "assistant", "system", "developer"] | None = None
    content: Text | list[Part] | None = None
    call_id: str | None = None
    # As a model wrote it.
    name: str | None = None
    namespace: str | None = None
    arguments: str | None = None
    # Of a call of a custom tool.
    input: Text | None = None
    output: Text | list[Part] | None = None
    # Of an earlier thought.
    summary: list[SummaryText] | None = None

    @property
    def kind(self) -> str:
        """The type, also where it was left out."""
        return self.type or ("message" if self.role else "item_reference")


class TextFormat(Struct, frozen=True, omit_defaults=True):
    """The shape that the answer must have. OpenAI's schema of the answer allows what was not sent to be absent only."""

    type: Literal["text", "json_object", "json_schema"] | None = None
    name: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None
    description: str | None = None


class TextConfig(Struct, frozen=True):
    """How the answer is to be written."""

    format: TextFormat | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class Reasoning(Struct, frozen=True):
    """How to reason. If a summary is requested, it contains the reasoning itself, which is not summarised."""

    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None
    # The older name of `summary`.
    generate_summary: Literal["auto", "concise", "detailed"] | None = None


class GrammarFormat(Struct, frozen=True, omit_defaults=True):
    """What the input of a custom tool follows: nothing, a Lark grammar, or a regular expression for the whole of it."""

    type: Literal["text", "grammar"]
    definition: str | None = None
    syntax: Literal["lark", "regex"] | None = None


class NamespacedTool(Struct, frozen=True):
    """A function or custom tool, which the client runs."""

    type: str
    name: FunctionName | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    # Of a custom tool.
    format: GrammarFormat | None = None


class Tool(NamespacedTool, frozen=True):
    """A tool offered to the model: a function, a custom tool, or a namespace of such. All others are left out."""

    # Of a namespace.
    tools: list[NamespacedTool] | None = None


class ToolName(Struct, frozen=True, omit_defaults=True):
    """One of the tools that may be called; a namespace stands for all that is in it."""

    type: str
    name: FunctionName | None = None
    namespace: FunctionName | None = None


class ToolChoice(Struct, frozen=True, omit_defaults=True):
    """The function or custom tool that must be called, or the tools that may be."""

    type: str
    name: FunctionName | None = None
    namespace: FunctionName | None = None
    mode: Literal["auto", "required"] | None = None
    tools: list[ToolName] | None = None


class ResponsesBody(ToleratedFields, frozen=True):
    """The whole body. None and absent mean the same for every optional field."""

    model: str
    input: Text | Annotated[list[Item], Meta(min_length=1, max_length=MOST_MESSAGES)]
    instructions: Text | None = None
    stream: bool | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    max_output_tokens: TokenLimit | None = None
    # What OpenAI, or clients of open models, have for chats only, served here as there.
    stop: Stops | None = None
    seed: Seed | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    top_k: TopK | None = None
    min_p: MinP | None = None
    repetition_penalty: RepetitionPenalty | None = None
    logit_bias: dict[str, Bias] | None = None
    # There is one answer.
    n: Literal[1] | None = None
    max_tool_calls: Annotated[int, Meta(ge=1)] | None = None
    top_logprobs: TopLogprobs | None = None
    include: list[Include] | None = None
    text: TextConfig | None = None
    reasoning: Reasoning | None = None
    tools: Annotated[list[Tool], Meta(max_length=MOST_TOOLS)] | None = None
    tool_choice: Literal["none", "auto", "required"] | ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    # What is kept for the client, which is nothing.
    previous_response_id: str | None = None
    conversation: Any = None
    prompt: Any = None
    background: bool | None = None
    # What does not fit is a 400 either way: nothing is left out silently.
    truncation: Literal["auto", "disabled"] | None = None

    @property
    def logprobs(self) -> bool:
        """Whether the log probabilities of the answer are wanted."""
        return "message.output_text.logprobs" in (self.include or ())

    @property
    def summarised(self) -> bool:
        """Whether thoughts are to be shown as a summary."""
        return self.reasoning is not None and bool(self.reasoning.summary or self.reasoning.generate_summary)


responses_decoder = msgspec.json.Decoder(ResponsesBody)
_members = msgspec.json.Decoder(dict[str, Any])


def parse_responses_body(content: bytes) -> ResponsesBody:
    """Decodes a body; raises MeshError INVALID_REQUEST, with `param` where one field is at fault.

    Nothing in an earlier thought, or in what belongs to tools that other services run, is at fault: what can be read of
    it is kept and the rest is left out.
    """
    try:
        body = parse_body(content, responses_decoder)
    except MeshError as error:
        if not error.param.startswith(("input[", "tools[")):
            raise
        readable = _readable(content, thoughts=True)
        if readable is None:
            raise
        return parse_body(readable, responses_decoder)
    if isinstance(body.input, str) or not any(is_foreign(item.kind) for item in body.input):
        return body
    return parse_body(_readable(content, thoughts=False) or content, responses_decoder)


def _readable(content: bytes, *, thoughts: bool) -> bytes | None:
    """Returns the body with what comes from other services in a form of ours, `thoughts` too; None if it has none."""
    # What follows the first mistake may be no JSON at all: nothing has looked at it yet.
    body = parse_body(content, _members)
    readable = dict(body)
    if isinstance(body.get("input"), list):
        readable["input"] = [readable_item(item, thoughts=thoughts) for item in body["input"]]
    if isinstance(body.get("tools"), list):
        readable["tools"] = [readable_tool(tool) for tool in body["tools"]]
    return None if readable == body else msgspec.json.encode(readable)
