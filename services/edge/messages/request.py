"""The body of POST /v1/messages, as Anthropic defines it. Unknown fields are tolerated, wrong types are not.

https://platform.claude.com/docs/en/api/messages describes it. Marks of what to cache are tolerated in every place:
prompts are cached without them.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, get_args

import msgspec
from msgspec import Meta, Raw, Struct

from services.common.errors import MeshError
from services.common.limits.chats import MOST_MESSAGES, MOST_MESSAGES_TOOLS, MOST_STOP_SEQUENCES, TOOL_NAME, TOP_KS
from services.edge.chat.request import Text, TokenLimit, TopP
from services.edge.http.parsing import parse_body

BodyT = TypeVar("BodyT", bound="ConversationBody")
ToolName = Annotated[str, Meta(pattern=TOOL_NAME.pattern)]


class TextBlock(Struct, frozen=True, tag="text", tag_field="type"):
    """Text for the model, or what it has said before."""

    text: Text


class SystemBlock(Struct, frozen=True):
    """A part of the system prompt. All of them are texts, so the type may be left out."""

    text: Text
    type: Literal["text"] | None = "text"


class Base64Source(Struct, frozen=True, tag="base64", tag_field="type"):
    """An image in the body."""

    media_type: Literal["image/jpeg", "image/png", "image/gif", "image/webp"]
    data: str


class UrlSource(Struct, frozen=True, tag="url", tag_field="type"):
    """An image by URL."""

    url: str


class FileSource(Struct, frozen=True, tag="file", tag_field="type"):
    """An image that was uploaded before; there are no files to name by id."""


class ImageBlock(Struct, frozen=True, tag="image", tag_field="type"):
    """An image for the model."""

    source: Base64Source | UrlSource | FileSource


class ToolUseBlock(Struct, frozen=True, tag="tool_use", tag_field="type"):
    """A call in an assistant turn: the model may have made up the name."""

    id: str
    name: str
    input: dict[str, Any]


class ToolReferenceBlock(Struct, frozen=True, tag="tool_reference", tag_field="type"):
    """A tool that a search for tools has found: all of them are on offer here anyway."""


class ToolResultBlock(Struct, frozen=True, tag="tool_result", tag_field="type"):
    """What came of a call."""

    tool_use_id: str
    content: Text | list[TextBlock | ImageBlock | ToolReferenceBlock] | None = None
    is_error: bool | None = None


class ThinkingBlock(Struct, frozen=True, tag="thinking", tag_field="type"):
    """Reasoning of an assistant turn, as it was answered."""

    thinking: Text
    signature: str | None = None


class RedactedThinkingBlock(Struct, frozen=True, tag="redacted_thinking", tag_field="type"):
    """Reasoning that only the service can read that wrote it; this one writes none."""


Block: TypeAlias = TextBlock | ImageBlock | ToolUseBlock | ToolResultBlock | ThinkingBlock | RedactedThinkingBlock
_KNOWN_TYPES = frozenset(kind.__struct_config__.tag for kind in get_args(Block))
_UNKNOWN_BLOCK = re.compile(r"messages\[\d+\]\.content\[\d+\](\.type)?")
_PASSED_OVER = Raw(b'{"type":"redacted_thinking"}')
# What msgspec raises for a value that is not of the type, and for one that is no value.
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _Typed(Struct):
    """A block as far as its type."""

    type: str


# These read no more of a body than is asked, and leave the rest as it was sent.
_members = msgspec.json.Decoder(dict[str, Raw])
_turns = msgspec.json.Decoder(list[dict[str, Raw]])
_blocks = msgspec.json.Decoder(list[Raw])
_typed = msgspec.json.Decoder(_Typed)
_text = msgspec.json.Decoder(str)


class MessageParam(Struct, frozen=True):
    """One turn of the conversation, or a part of one: turns of one role that follow each other are one."""

    role: Literal["user", "assistant", "system"]
    content: Text | list[Block]


class ToolParam(Struct, frozen=True):
    """A tool offered to the model. One without a type, or of the type `custom`, is run by the client."""

    type: str | None = None
    name: ToolName | None = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None
    strict: bool | None = None


class ToolChoiceParam(Struct, frozen=True):
    """Whether tools may or must be called: `auto`, `any`, the named `tool`, or `none`."""

    type: Literal["auto", "any", "tool", "none"]
    name: ToolName | None = None
    disable_parallel_tool_use: bool | None = None


class Thinking(Struct, frozen=True):
    """Whether to reason, and whether that is shown; how long is up to the model."""

    type: Literal["enabled", "disabled", "adaptive", "between_tools"]
    budget_tokens: Annotated[int, Meta(ge=1)] | None = None
    # What a model's thought would be shown as. The thought itself is shown for all but `omitted`.
    display: Literal["summarized", "updates", "omitted"] | None = None


class OutputFormat(Struct, frozen=True):
    """The shape that the answer must have."""

    type: Literal["json_schema"]
    schema: dict[str, Any]


class OutputConfig(Struct, frozen=True):
    """How hard to think, and in which shape to answer."""

    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: OutputFormat | None = None


class ConversationBody(Struct, frozen=True, kw_only=True):
    """What the model is shown: the same for an answer as for a count of its tokens."""

    model: str
    messages: Annotated[list[MessageParam], Meta(min_length=1, max_length=MOST_MESSAGES)]
    system: Text | list[SystemBlock] | None = None
    tools: Annotated[list[ToolParam], Meta(max_length=MOST_MESSAGES_TOOLS)] | None = None
    tool_choice: ToolChoiceParam | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    # What `output_config.format` was before.
    output_format: OutputFormat | None = None
    # What is kept for the client, which is nothing.
    thread: Any = None


class MessagesBody(ConversationBody, frozen=True, kw_only=True):
    """The whole body. None and absent mean the same for every optional field."""

    max_tokens: TokenLimit
    stream: bool | None = None
    stop_sequences: Annotated[list[str], Meta(max_length=MOST_STOP_SEQUENCES)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_p: TopP | None = None
    top_k: Annotated[int, Meta(ge=0, le=int(TOP_KS.high))] | None = None
    # Nothing of it is kept or passed on.
    metadata: dict[str, Any] | None = None

    @property
    def thoughts_shown(self) -> bool:
        """Whether thoughts are answered with their text, and not with their signatures alone."""
        return self.thinking is None or self.thinking.display != "omitted"


messages_decoder = msgspec.json.Decoder(MessagesBody)
conversation_decoder = msgspec.json.Decoder(ConversationBody)


def parse_conversation(content: bytes, decoder: msgspec.json.Decoder[BodyT]) -> BodyT:
    """Decodes a body; raises MeshError INVALID_REQUEST, with `param` where one field is at fault.

    A conversation that began at another service may hold in its assistant turns what tools of that service did. Nothing
    of it is for the model to read, so blocks of unknown types are passed over there.
    """
    try:
        return parse_body(content, decoder)
    except MeshError as error:
        if not _UNKNOWN_BLOCK.fullmatch(error.param):
            raise
    # What follows the block may be no JSON at all: nothing has looked at it yet.
    members = parse_body(content, _members)
    members["messages"] = Raw(_with_known_blocks(members["messages"]))
    return parse_body(msgspec.json.encode(members), decoder)


def _with_known_blocks(messages: Raw) -> bytes:
    """Returns messages with a block that says nothing in place of each one of an unknown type in assistant turns.

    So every other block keeps its place. Messages of which this cannot be told are returned as they are.
    """
    try:
        turns = _turns.decode(messages)
    except _UNREADABLE:
        # A second member of the same name, which JSON allows, may be anything.
        return bytes(messages)
    return msgspec.json.encode([_with_known_content(turn) for turn in turns])


def _with_known_content(turn: dict[str, Raw]) -> dict[str, Raw | list[Raw]]:
    try:
        if _text.decode(turn["role"]) != "assistant":
            return {**turn}
        blocks = _blocks.decode(turn["content"])
    except (KeyError, *_UNREADABLE):
        return {**turn}
    return {**turn, "content": [_PASSED_OVER if _is_unknown(block) else block for block in blocks]}


def _is_unknown(block: Raw) -> bool:
    try:
        return _typed.decode(block).type not in _KNOWN_TYPES
    except _UNREADABLE:
        return False
