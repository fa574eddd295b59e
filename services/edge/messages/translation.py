"""Translates a body of POST /v1/messages into that of a chat completion, so that both take the same path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

from msgspec.structs import replace

from services.common.errors import MeshError
from services.edge.chat import request as chat
from services.edge.http.parsing import invalid
from services.edge.messages.field_names import FieldNames
from services.edge.messages.request import ConversationBody, MessagesBody, OutputFormat, ToolParam
from services.edge.messages.thoughts import ThoughtSigner
from services.edge.messages.turns import read_turns

_ChatToolChoice: TypeAlias = Literal["none", "auto", "required"] | chat.ToolChoice
_Effort: TypeAlias = Literal["none", "low", "medium", "high", "xhigh", "max"]
_NOT_RUN_HERE = "this service runs no tools of its own"


class Translation(NamedTuple):
    """The chat completion that a body amounts to."""

    chat: chat.ChatBody
    names: FieldNames


class _Offer(NamedTuple):
    """The tools that the model sees, and where they stand in the body."""

    tools: list[chat.Tool]
    places: list[str]


def translate(body: MessagesBody, thoughts: ThoughtSigner) -> Translation:
    """Returns the same request as a chat completion; raises MeshError INVALID_REQUEST with `param`."""
    translation = translate_conversation(body, thoughts)
    last = len(body.messages) - 1
    if body.messages[last].role == "assistant":
        param = f"messages[{last}]"
        raise invalid(param, f"'{param}' is a turn of the assistant, and none is continued; end with one of the user.")
    completion = replace(
        translation.chat,
        stream=body.stream,
        max_completion_tokens=body.max_tokens,
        stop=body.stop_sequences,
        temperature=body.temperature,
        top_p=body.top_p,
        top_k=body.top_k,
    )
    return Translation(completion, translation.names)


def translate_conversation(body: ConversationBody, thoughts: ThoughtSigner) -> Translation:
    """Returns what the model is shown of a body, as a chat completion without bounds and sampling.

    Raises MeshError INVALID_REQUEST with `param`.
    """
    if body.thread is not None:
        # Without the earlier turns, nothing else that is said of the messages would be true.
        raise invalid(
            "thread", "'thread' is not supported: nothing is kept here; send the whole conversation without it."
        )
    turns = read_turns(body, thoughts)
    offer = _offer(body.tools or ())
    wanted = (body.output_config.format if body.output_config else None) or body.output_format
    completion = chat.ChatBody(
        model=body.model,
        messages=[turn.message for turn in turns],
        tools=offer.tools or None,
        tool_choice=_tool_choice(body, offer),
        parallel_tool_calls=False if body.tool_choice and body.tool_choice.disable_parallel_tool_use else None,
        response_format=_response_format(wanted) if wanted else None,
        reasoning_effort=_effort(body),
    )
    return Translation(completion, FieldNames([turn.places for turn in turns], offer.places))


def _offer(tools: Sequence[ToolParam]) -> _Offer:
    """Returns the tools that the client runs.

    Those of other types are run by the service, or have a description that only Anthropic's models know: they are left
    out, which is the same to the client as a model that chooses not to call them.
    """
    offer = _Offer([], [])
    for at, tool in enumerate(tools):
        place = f"tools[{at}]"
        if tool.type == "function":
            # One of the client's: without it, the model could not do what is asked, and nobody would know why.
            own = "'name', 'description' and 'input_schema' without a 'type'"
            raise invalid(f"{place}.type", f"'{place}.type' is that of OpenAI's tools; send {own}.")
        if tool.type not in (None, "custom"):
            continue
        if tool.name is None or tool.input_schema is None:
            raise _required(f"{place}.{'name' if tool.name is None else 'input_schema'}")
        offer.tools.append(chat.Tool(chat.Function(tool.name, tool.description, tool.input_schema, tool.strict)))
        offer.places.append(place)
    return offer


def _tool_choice(body: ConversationBody, offer: _Offer) -> _ChatToolChoice | None:
    choice = body.tool_choice
    if choice is None:
        return None
    if choice.type in ("auto", "none"):
        return choice.type
    if body.tools and not offer.tools:
        raise invalid("tool_choice", f"'tool_choice' must be 'auto' or 'none' for these 'tools': {_NOT_RUN_HERE}.")
    if choice.type == "any":
        return "required"
    if choice.name is None:
        raise _required("tool_choice.name")
    offered = {tool.name for tool in offer.tools}
    if choice.name not in offered and any(tool.name == choice.name for tool in body.tools or ()):
        raise invalid("tool_choice", f"'tool_choice' must name a tool that you run: {_NOT_RUN_HERE}.")
    return chat.ToolChoice(chat.NamedFunction(choice.name))


def _response_format(wanted: OutputFormat) -> chat.ResponseFormat:
    return chat.ResponseFormat("json_schema", chat.JsonSchema(wanted.schema))


def _effort(body: ConversationBody) -> _Effort | None:
    if body.thinking is not None and body.thinking.type == "disabled":
        return "none"
    return body.output_config.effort if body.output_config else None


def _required(param: str) -> MeshError:
    return invalid(param, f"'{param}' is required; add it.")
