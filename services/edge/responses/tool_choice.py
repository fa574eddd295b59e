"""Translates the choice of tools: it names them as the client does."""

from __future__ import annotations

from typing import Literal, TypeAlias

from services.common.errors import MeshError
from services.edge.chat import request as chat
from services.edge.http.parsing import invalid
from services.edge.responses.offered_tools import OfferedTools
from services.edge.responses.request import ToolChoice, ToolName

_Mode: TypeAlias = Literal["none", "auto", "required"]


def chat_choice(choice: _Mode | ToolChoice | None, tools: OfferedTools) -> _Mode | chat.ToolChoice | None:
    """Returns the choice for a chat completion; raises MeshError INVALID_REQUEST with `param`.

    Tools that are left out may be allowed, for a model need not use them, but not forced.
    """
    if not isinstance(choice, ToolChoice):
        if choice == "required" and tools.left_out and not tools.tools:
            raise _left_out(min(tools.left_out))
        return choice
    if choice.type == "allowed_tools":
        return _allowed(choice, tools)
    if choice.type not in {"function", "custom"}:
        if choice.name is not None or choice.mode is not None or choice.tools is not None:
            raise _wrong()
        raise _left_out(choice.type)
    if choice.name is None:
        raise _wrong()
    shown = tools.find(choice.name, choice.namespace)
    if not shown:
        raise invalid("tool_choice", "'tool_choice' must name a tool that is in 'tools'.")
    named = chat.NamedFunction(shown[0])
    return chat.ToolChoice(type="custom", custom=named) if _is_custom(shown[0], tools) else chat.ToolChoice(named)


def _allowed(choice: ToolChoice, tools: OfferedTools) -> _Mode | chat.ToolChoice:
    ours = [tool for tool in choice.tools or () if tool.type in {"function", "custom", "namespace"}]
    hosted = [tool for tool in choice.tools or () if tool.type not in {"function", "custom", "namespace"}]
    if choice.mode is None or not (ours or hosted) or any(tool.name is None for tool in ours):
        raise _wrong()
    shown = [name for tool in ours for name in _find(tool, tools)]
    if shown:
        allowed = [_named_tool(name, tools) for name in dict.fromkeys(shown)]
        return chat.ToolChoice(None, chat.AllowedTools(choice.mode, allowed), "allowed_tools")
    if choice.mode == "required" and hosted:
        raise _left_out(hosted[0].type)
    return "none"


def _find(tool: ToolName, tools: OfferedTools) -> list[str]:
    name = tool.name or ""
    found = tools.find("", name) if tool.type == "namespace" else tools.find(name, tool.namespace)
    if not found:
        raise invalid("tool_choice", "'tool_choice' must allow only tools that are in 'tools'.")
    return found


def _named_tool(name: str, tools: OfferedTools) -> chat.NamedTool:
    named = chat.NamedFunction(name)
    return chat.NamedTool(type="custom", custom=named) if _is_custom(name, tools) else chat.NamedTool(named)


def _is_custom(name: str, tools: OfferedTools) -> bool:
    return tools.called[name].custom


def _left_out(kind: str) -> MeshError:
    message = (
        f"'tool_choice' must not force a tool of the type '{kind[:64]}', which this service does not run; use 'auto', "
        "or a function or custom tool."
    )
    return invalid("tool_choice", message)


def _wrong() -> MeshError:
    message = (
        "'tool_choice' must be 'none', 'auto', 'required', a 'function' or 'custom' tool with its 'name', or "
        "'allowed_tools' with 'mode' and 'tools'."
    )
    return invalid("tool_choice", message)
