"""Reads the conversation of a call, its tools and the required shape of its answer into what the prompt layer wants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from services.common.json_schema.arguments import NO_PARAMETERS
from services.common.lark.errors import LarkError
from services.common.lark.json_form import json_form, json_form_of_pattern
from services.common.limits.chats import MOST_MESSAGES, MOST_MESSAGES_TOOLS, TOOL_NAME
from services.runner.kinds.text.images.markers import text_with_markers
from services.runner.kinds.text.json_texts import JsonTexts
from services.runner.kinds.text.prompt.grammar import any_object
from services.runner.kinds.text.prompt.tools import Mode, Tool, Toolbox
from services.runner.refusals import unchecked
from tiermesh.runner.v1 import runner_pb2

_ROLES = frozenset({"system", "user", "assistant", "tool"})
_CHOICE = runner_pb2.ToolChoice
_NO_TOOLS = Toolbox()


def read_messages(messages: Sequence[runner_pb2.Message], image_marker: str = "") -> list[dict[str, Any]]:
    """Returns the messages as chat templates expect them, with the marker for each image.

    Raises MeshError INVALID_REQUEST.
    """
    if not 1 <= len(messages) <= MOST_MESSAGES:
        raise unchecked("messages")
    texts = JsonTexts()
    return [_read_message(message, f"messages[{at}]", image_marker, texts) for at, message in enumerate(messages)]


def _read_message(message: runner_pb2.Message, param: str, image_marker: str, texts: JsonTexts) -> dict[str, Any]:
    if message.role not in _ROLES:
        raise unchecked(f"{param}.role")
    document: dict[str, Any] = {"role": message.role, "content": text_with_markers(message, image_marker)}
    if message.name:
        document["name"] = message.name
    if message.tool_call_id:
        document["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        if message.role != "assistant":
            raise unchecked(f"{param}.tool_calls")
        document["tool_calls"] = [_read_call(call, texts) for call in message.tool_calls]
    if message.reasoning_content:
        if message.role != "assistant":
            raise unchecked(f"{param}.reasoning_content")
        document["reasoning_content"] = message.reasoning_content
    return document


def _read_call(call: runner_pb2.ToolCall, texts: JsonTexts) -> dict[str, Any]:
    function = {"name": call.name, "arguments": _read_arguments(call.arguments, texts)}
    return {"id": call.id, "type": "function", "function": function}


def _read_arguments(text: str, texts: JsonTexts) -> dict[str, Any]:
    """Returns the arguments of an earlier call as an object, for that is what templates expect.

    A model wrote them: they may have been cut off by a limit, be no JSON at all, or hold more than anybody should read.
    A conversation goes on after that, as with OpenAI, so they become a member of an object.
    """
    if not text.strip():
        return {}
    value = texts.read_object(text)
    return {"arguments": text} if value is None else value


def read_toolbox(call: runner_pb2.GenerateCall) -> Toolbox:
    """Returns the offered functions and which of them must be called; raises MeshError INVALID_REQUEST."""
    if not call.tools and not call.HasField("tool_choice"):
        # Most calls.
        return _NO_TOOLS
    if len(call.tools) > MOST_MESSAGES_TOOLS:
        raise unchecked("tools")
    texts = JsonTexts()
    tools = tuple(_read_tool(tool, f"tools[{at}].function", texts) for at, tool in enumerate(call.tools))
    if len({tool.name for tool in tools}) < len(tools):
        raise unchecked("tools")
    choice = call.tool_choice
    if choice.mode == _CHOICE.MODE_NONE:
        return Toolbox(tools, Mode.NONE)
    if choice.mode == _CHOICE.MODE_REQUIRED:
        if not tools:
            raise unchecked("tool_choice")
        return Toolbox(tools, Mode.REQUIRED, required=tools, single=choice.single)
    if choice.mode == _CHOICE.MODE_NAMED:
        named = tuple(tool for tool in tools if tool.name == choice.name)
        if not named:
            raise unchecked("tool_choice")
        return Toolbox(tools, Mode.REQUIRED, required=named, single=True)
    return Toolbox(tools, Mode.AUTO, single=choice.single)


def _read_tool(tool: runner_pb2.Tool, param: str, texts: JsonTexts) -> Tool:
    if not TOOL_NAME.fullmatch(tool.name):
        raise unchecked(f"{param}.name")
    json = tool.parameters_json
    parameters = _read_object(json, f"{param}.parameters", texts) if json else dict(NO_PARAMETERS)
    return Tool(
        tool.name, tool.description, parameters, strict=tool.strict, arguments_grammar=_read_grammar(tool, param)
    )


def _read_grammar(tool: runner_pb2.Tool, param: str) -> str:
    """Returns the grammar of the arguments of a function that takes a text."""
    try:
        match tool.WhichOneof("input_grammar"):
            case "input_lark":
                return json_form(tool.input_lark)
            case "input_pattern":
                return json_form_of_pattern(tool.input_pattern)
    except LarkError:
        raise unchecked(param) from None
    return ""


def read_schema(call: runner_pb2.GenerateCall) -> dict[str, Any] | None:
    """Returns the JSON Schema that the answer's content must satisfy, or None; raises MeshError INVALID_REQUEST."""
    if not call.HasField("response_format"):
        return None
    kind = call.response_format.WhichOneof("format")
    if kind == "json_schema":
        return _read_object(call.response_format.json_schema, "response_format", JsonTexts())
    if kind == "json_object" and call.response_format.json_object:
        return any_object()
    return None


def _read_object(text: str, param: str, texts: JsonTexts) -> dict[str, Any]:
    value = texts.read_object(text)
    if value is None:
        raise unchecked(param)
    return value
