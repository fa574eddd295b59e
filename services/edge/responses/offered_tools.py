"""The tools of a body as a model is shown them, and what their calls are called in the answer.

A function of a namespace is shown as `<namespace>__<name>`. Tools that another service would run itself are left out:
a model may always choose not to use one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import NamedTuple

from msgspec import UNSET

from services.common.errors import MeshError
from services.common.limits.chats import MOST_TOOLS, TOOL_NAME
from services.edge.chat import request as chat
from services.edge.http.parsing import invalid
from services.edge.responses.foreign_items import HOSTED
from services.edge.responses.request import GrammarFormat, NamespacedTool, Tool
from services.edge.responses.response_object import UsedCustomTool, UsedFunction, UsedNamespace, UsedTool

_APART = "__"
_LONGEST_NAME = 128


class Called(NamedTuple):
    """What the answer calls a tool."""

    name: str
    namespace: str | None
    custom: bool


class OfferedTools:
    """The tools of one body."""

    def __init__(self, tools: list[Tool]) -> None:
        """Takes the tools; raises MeshError INVALID_REQUEST, with `param`, for one that is wrong."""
        self.tools: list[chat.Tool] = []
        # Where each stands in the body.
        self.places: list[str] = []
        # What the answer says was used.
        self.used: list[UsedTool] = []
        # By the name that the model knows.
        self.called: dict[str, Called] = {}
        # The types of those that are left out.
        self.left_out: set[str] = set()
        self._names: dict[tuple[str | None, str], str] = {}
        # Plain names first, so that they stay what they are.
        for tool in tools:
            if tool.type != "namespace" and tool.name is not None:
                self._names.setdefault((None, tool.name), tool.name)
        for at, tool in enumerate(tools):
            self._take(tool, f"tools[{at}]")
        if len(self.tools) > MOST_TOOLS:
            message = f"'tools' must have at most {MOST_TOOLS} functions, those of namespaces included"
            raise invalid("tools", f"{message}; {len(self.tools)} were sent.")

    def shown_name(self, name: str, namespace: str | None) -> str:
        """Returns the name that the model knows a tool by, whether it is on offer or was in an earlier request."""
        return self._names.get((namespace, name)) or _shown_name(name, namespace, frozenset())

    def find(self, name: str, namespace: str | None) -> list[str]:
        """Returns the names that the model knows of the tools that a choice names; of all of a namespace for ""."""
        if (None, name) in self._names and namespace is None:
            return [self._names[None, name]]
        if namespace is None:
            # A choice of OpenAI's has no namespace.
            return [shown for (_, known), shown in self._names.items() if known == name][:1]
        return [shown for (within, known), shown in self._names.items() if within == namespace and name in ("", known)]

    def _take(self, tool: Tool, place: str) -> None:
        if tool.type == "namespace":
            self._take_namespace(tool, place)
        elif tool.type in ("function", "custom"):
            self.used.append(self._add(tool, place, None))
        elif tool.parameters is not None and tool.type not in HOSTED:
            raise _unknown_type(f"{place}.type")
        else:
            self.left_out.add(tool.type)

    def _take_namespace(self, namespace: Tool, place: str) -> None:
        if namespace.name is None:
            raise invalid(f"{place}.name", f"'{place}.name' is required; add it.")
        used = [
            self._add(tool, f"{place}.tools[{at}]", namespace.name) for at, tool in enumerate(namespace.tools or ())
        ]
        self.used.append(UsedNamespace(namespace.name, namespace.description or "", used))

    def _add(self, tool: NamespacedTool, place: str, namespace: str | None) -> UsedFunction | UsedCustomTool:
        if tool.type not in ("function", "custom"):
            param = f"{place}.type"
            raise invalid(param, f"'{param}' must be 'function' or 'custom' within a namespace.")
        if tool.name is None:
            raise invalid(f"{place}.name", f"'{place}.name' is required; add it.")
        shown = self._names.get((namespace, tool.name))
        if shown is None:
            shown = _shown_name(tool.name, namespace, self._names.values())
            self._names[namespace, tool.name] = shown
        self.places.append(place)
        self.called[shown] = Called(tool.name, namespace, tool.type == "custom")
        if tool.type == "custom":
            self.tools.append(
                chat.Tool(None, "custom", chat.CustomTool(shown, tool.description, _format(tool, f"{place}.format")))
            )
            return UsedCustomTool(tool.name, tool.format or GrammarFormat("text"), tool.description or UNSET)
        self.tools.append(chat.Tool(chat.Function(shown, tool.description, tool.parameters, tool.strict)))
        return UsedFunction(tool.name, tool.description, tool.parameters, tool.strict)


def _shown_name(name: str, namespace: str | None, taken: Collection[str]) -> str:
    """Returns a name for a tool that no other has; it is the same in every request with the same tools."""
    if namespace is None:
        return name
    shown = f"{namespace}{_APART}{name}"
    if TOOL_NAME.fullmatch(shown) and shown not in taken:
        return shown
    digest = hashlib.sha256(f"{namespace}\n{name}".encode()).hexdigest()[:8]
    return f"{shown[: _LONGEST_NAME - len(digest) - 1]}_{digest}"


def _format(tool: NamespacedTool, place: str) -> chat.CustomFormat | None:
    wanted = tool.format
    if wanted is None or wanted.type == "text":
        return None
    if wanted.definition is None or wanted.syntax is None:
        param = f"{place}.{'definition' if wanted.definition is None else 'syntax'}"
        raise invalid(param, f"'{param}' is required for the type 'grammar'; add it.")
    return chat.CustomFormat("grammar", chat.Grammar(wanted.definition, wanted.syntax))


def _unknown_type(param: str) -> MeshError:
    return invalid(param, f"'{param}' must be 'function', 'custom' or 'namespace' for a tool with 'parameters'.")
