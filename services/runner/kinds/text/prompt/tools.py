"""Functions offered to a model, and which of them it must call."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any


@dataclass(frozen=True, slots=True)
class Tool:
    """One function; `parameters` is the JSON Schema of its arguments, which are an object."""

    name: str
    description: str = ""
    parameters: dict[str, Any] = field(default_factory=lambda: {"type": "object"})
    # Whether calls must follow the schema when the model decides, too; forced calls always do.
    strict: bool = False
    # A Lark grammar that arguments must follow instead of the schema, whoever decides to call; "" if there is none.
    arguments_grammar: str = ""

    @property
    def enforced(self) -> bool:
        """Whether calls must follow a shape when the model decides, too."""
        return self.strict or bool(self.arguments_grammar)

    def document(self) -> dict[str, Any]:
        """Returns what chat templates show to the model: OpenAI's own form."""
        function = {"name": self.name, "description": self.description, "parameters": self.parameters}
        return {"type": "function", "function": function}


class Mode(Enum):
    """Whether functions are called."""

    AUTO = "auto"
    NONE = "none"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class Toolbox:
    """The functions of one request: what the model sees and what it may do with them."""

    tools: tuple[Tool, ...] = ()
    mode: Mode = Mode.AUTO
    # Functions of which at least one must be called; only with REQUIRED.
    required: tuple[Tool, ...] = ()
    # At most one call in an answer.
    single: bool = False

    @property
    def callable(self) -> bool:
        """Whether an answer can contain calls, so that it must be parsed for them."""
        return bool(self.tools) and self.mode is not Mode.NONE

    @property
    def schemas(self) -> dict[str, dict[str, Any]]:
        """The functions on offer, each with the schema of its arguments."""
        return {tool.name: tool.parameters for tool in self.tools}

    def documents(self) -> list[dict[str, Any]]:
        """Returns what the chat template shows; nothing if calls are forbidden, so that none is attempted."""
        return [tool.document() for tool in self.tools] if self.callable else []
