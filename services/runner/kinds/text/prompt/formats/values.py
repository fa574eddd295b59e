"""Arguments that a model writes as plain text: which value of its parameter's schema such a text stands for.

A text is a string unless the schema says otherwise. A number, `true`, `null`, an object or an array is JSON; Python's
spelling of constants counts too, because some templates show earlier calls with it.
"""

from __future__ import annotations

import json
import math
from typing import Any

from services.common.json_schema.enforced import members, named, resolve, types_of

_EVERY = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})
_PYTHON = {"True": True, "False": False, "None": None}
_DEEPEST = 16


class Parameters:
    """The parameters of one function, by the JSON Schema of its arguments."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self.root = schema
        self._kinds: dict[str, frozenset[str]] = {}
        top = schema
        for _ in range(_DEEPEST):
            if not isinstance(target := resolve(schema, top.get("$ref")), dict):
                break
            top = target
        self.top = top

    def of(self, name: str) -> Any:
        """Returns the schema of one parameter; {} if nothing is said of it."""
        properties = named(self.top, "properties")
        return properties[name] if name in properties else self.top.get("additionalProperties", {})

    def read(self, name: str, text: str) -> Any:
        """Returns the value that a text stands for; the text itself if the schema knows no better."""
        kinds = self._kinds.get(name)
        if kinds is None:
            kinds = self._kinds[name] = self.kinds(self.of(name))
        if kinds in ({"string"}, _EVERY):
            return text
        try:
            value: Any = _PYTHON[text.strip()] if text.strip() in _PYTHON else json.loads(text, parse_constant=_refuse)
        except (ValueError, RecursionError):
            return text
        kind = _kind(value)
        if kind == "number" and not math.isfinite(value):
            return text
        if kind == "number" and "number" not in kinds and "integer" in kinds and value.is_integer():
            return int(value)
        return text if kind not in kinds and "string" in kinds else value

    def kinds(self, schema: Any, depth: int = 0) -> frozenset[str]:
        """Returns the types of the values that a schema can admit, as far as its types, values and alternatives say."""
        if not isinstance(schema, dict) or depth > _DEEPEST:
            return _EVERY
        found = _EVERY
        types = types_of(schema)
        if all(kind in _EVERY for kind in types):
            found = frozenset(types) | ({"integer"} if "number" in types else frozenset())
        values = [*members(schema, "enum"), *([schema["const"]] if "const" in schema else [])]
        if values:
            found &= {_kind(value) for value in values}
        if isinstance(reference := schema.get("$ref"), str):
            found &= self.kinds(resolve(self.root, reference), depth + 1)
        for key in ("anyOf", "oneOf"):
            if alternatives := members(schema, key):
                found &= frozenset().union(*(self.kinds(member, depth + 1) for member in alternatives))
        for member in members(schema, "allOf"):
            found &= self.kinds(member, depth + 1)
        return found


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    for kind, name in ((str, "string"), (int, "integer"), (float, "number"), (dict, "object"), (list, "array")):
        if isinstance(value, kind):
            return name
    return "null"


def _refuse(constant: str) -> None:
    """NaN and infinities are not JSON."""
    raise ValueError(constant)
