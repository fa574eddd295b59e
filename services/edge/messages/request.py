"""The body of POST /v1/messages, as Anthropic defines it. Unknown fields are tolerated, wrong types are not.

https://platform.claude.com/docs/en/api/messages describes it. Marks of what to cache are tolerated in every place:
prompts are cached without them.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, get_args

import msgspec
from msgspec import Meta, Struct

from services.common.errors import MeshError
from services.common.limits.chats import MOST_MESSAGES, MOST_STOPS, MOST_TOOLS, TOOL_NAME, TOP_KS
from services.edge.chat.request import Text, TokenLimit, TopP
from services.edge.http.parsing import parse_body

BodyT = TypeVar("BodyT", bound="ConversationBody")
ToolName = Annotated[str, Meta(pattern=TOOL_NAME.pattern)]


class TextBlock(Struct, frozen=True, tag="text", tag_field="type"):
    """Text for the model, or what it has said before."""

    text: Text


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
    system: Text | list[TextBlock] | None = None
    tools: Annotated[list[ToolParam], Meta(max_length=MOST_TOOLS)] | None = None
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
    stop_sequences: Annotated[list[str], Meta(max_length=MOST_STOPS)] | None = None
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
    of it is for the model to read, so blocks of unknown types are left out there.
    """
    try:
        return parse_body(content, decoder)
    except MeshError as error:
        if not _UNKNOWN_BLOCK.fullmatch(error.param):
            raise
        body = msgspec.json.decode(content)
        messages = _without_unknown_blocks(body["messages"])
        if messages == body["messages"]:
            raise
        return parse_body(msgspec.json.encode({**body, "messages": messages}), decoder)


def _without_unknown_blocks(messages: Any) -> Any:
    """Returns messages without what assistant turns hold of unknown types; anything else as it is."""
    if not isinstance(messages, list):
        # A second member of the same name, which JSON allows.
        return messages
    return [
        {**message, "content": [block for block in message["content"] if not _is_unknown(block)]}
        if isinstance(message, dict) and message.get("role") == "assistant" and isinstance(message.get("content"), list)
        else message
        for message in messages
    ]


def _is_unknown(block: Any) -> bool:
    kind = block.get("type") if isinstance(block, dict) else None
    return isinstance(kind, str) and kind not in _KNOWN_TYPES
