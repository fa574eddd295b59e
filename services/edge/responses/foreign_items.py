"""Items of conversations that were begun elsewhere, and tools that others run, in the forms of this service.

Calls that a client ran for another service, and calls that come with their results, are read as calls of functions.
Whatever else is not readable here becomes a thought without text, which is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

_Item = dict[str, Any]
# The types of tools that are offered to a model here, and those that others run and yet have parameters.
OURS, HOSTED = frozenset({"function", "custom", "namespace"}), frozenset({"tool_search"})
_LEFT_OUT: _Item = {"type": "reasoning"}
# What says nothing that a model here could read, or only what comes again as text.
_UNREADABLE = frozenset(
    {
        "additional_tools", "compaction", "compaction_summary", "computer_call", "computer_call_output",
        "configuration_update", "context_compaction", "file_search_call", "ghost_snapshot", "image_generation_call",
        "mcp_approval_request", "mcp_approval_response", "mcp_list_tools", "program", "program_output",
        "tool_search_call", "tool_search_output", "web_search_call",
    }
)  # fmt: skip


_OUTPUTS = frozenset({"function_call_output", "custom_tool_call_output"})


def is_foreign(kind: str) -> bool:
    """Whether items of a type come from another service."""
    return kind in _UNREADABLE or kind in _READERS


def readable_item(item: Any, *, thoughts: bool) -> Any:
    """Returns an item in the form of ours: the same if it is one of ours, and not a thought that is to be read too."""
    kind = item.get("type") if isinstance(item, dict) else None
    if not isinstance(kind, str):
        return item
    if kind in _UNREADABLE:
        return _LEFT_OUT
    if kind == "reasoning":
        return _thought(item) if thoughts else item
    if kind in _OUTPUTS:
        return _without_encrypted(item)
    reader = _READERS.get(kind)
    return reader(item) if reader else item


def readable_tool(tool: Any) -> Any:
    """Returns a tool: of one that other services run, only what it is."""
    kind = tool.get("type") if isinstance(tool, dict) else None
    if not isinstance(kind, str) or kind in OURS or (kind not in HOSTED and "parameters" in tool):
        return tool
    return {"type": kind}


def _thought(item: _Item) -> _Item:
    content = [{"type": "reasoning_text", "text": text} for text in _texts(item.get("content"))]
    summary = [{"type": "summary_text", "text": text} for text in _texts(item.get("summary"))]
    return {"type": "reasoning", "content": content, "summary": summary}


def _texts(parts: Any) -> list[str]:
    """Returns the texts among the parts of a thought, whatever their types are."""
    if isinstance(parts, str):
        return [parts]
    texts = [part.get("text") for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
    return [text for text in texts if isinstance(text, str)]


def _call(name: str, member: str) -> Callable[[_Item], _Item]:
    """Returns a reader of calls of which a member says what was to be done."""

    def read(item: _Item) -> _Item:
        call_id = item.get("call_id") or item.get("id")
        arguments = item.get(member)
        return {"type": "function_call", "call_id": call_id, "name": name, "arguments": _json(arguments or {})}

    return read


def _output(item: _Item) -> _Item:
    output = item.get("output")
    text = output if isinstance(output, str) else "" if output is None else _json(output)
    return {"type": "function_call_output", "call_id": item.get("call_id") or item.get("id"), "output": text}


def _mcp_call(item: _Item) -> _Item:
    """Returns a call of a server's tool with its result."""
    arguments, output = item.get("arguments"), item.get("output") or item.get("error")
    return {
        "type": "answered_call",
        "call_id": item.get("id"),
        "name": item.get("name"),
        "arguments": arguments if isinstance(arguments, str) else _json(arguments or {}),
        "output": output if isinstance(output, str) else "" if output is None else _json(output),
    }


def _code_call(item: _Item) -> _Item:
    """Returns a run of code with what it printed; images are left out."""
    outputs = item.get("outputs")
    logs = [each.get("logs") for each in outputs if isinstance(each, dict)] if isinstance(outputs, list) else []
    return {
        "type": "answered_call",
        "call_id": item.get("id"),
        "name": "code_interpreter",
        "arguments": _json({"code": item.get("code")}),
        "output": "\n".join(log for log in logs if isinstance(log, str)),
    }


def _without_encrypted(item: _Item) -> _Item:
    """Returns a result without the parts that only another service can read."""
    output = item.get("output")
    if not isinstance(output, list):
        return item
    return {**item, "output": [part for part in output if not _is_encrypted(part)]}


def _is_encrypted(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "encrypted_content"


def _agent_message(item: _Item) -> _Item:
    """Returns what one agent of a client has told another, as far as it is not encrypted."""
    text = "\n".join(_texts(item.get("content")))
    return {"type": "message", "role": "user", "content": text} if text else _LEFT_OUT


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


_READERS: dict[str, Callable[[_Item], _Item]] = {
    "agent_message": _agent_message,
    "apply_patch_call": _call("apply_patch", "operation"),
    "apply_patch_call_output": _output,
    "code_interpreter_call": _code_call,
    "local_shell_call": _call("local_shell", "action"),
    "local_shell_call_output": _output,
    "mcp_call": _mcp_call,
    "shell_call": _call("shell", "action"),
    "shell_call_output": _output,
}
