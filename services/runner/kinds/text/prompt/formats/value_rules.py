"""Grammar rules for arguments that stand one by one, most as plain text: each text stands for a valid value.

What such a text cannot say exactly is a SchemaError, never a rule for less than the schema asks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from typing import Any

from services.common.json_schema.checking import SchemaError
from services.common.json_schema.enforced import enforced_form, members, named, resolve
from services.runner.kinds.text.prompt.formats.rules import json_rule, literal, one_of
from services.runner.kinds.text.prompt.formats.values import Parameters
from services.runner.kinds.text.prompt.tools import Tool

_LENGTHS = ("minLength", "maxLength")
_ALTERNATIVES = ("anyOf", "oneOf")
# The characters that a text begins with if it can stand for a value of these types.
_FIRST = {"array": r"\[", "object": r"\{", "integer": r"\d\-", "number": r"\d\-", "boolean": "tfTF", "null": "nN"}

# The keywords that ask for something; the standard says to ignore those that nobody knows.
ASKING = frozenset(
    {
        "$ref", "additionalProperties", "allOf", "anyOf", "const", "enum", "exclusiveMaximum", "exclusiveMinimum",
        "format", "items", "maxItems", "maxLength", "maxProperties", "maximum", "minItems", "minLength",
        "minProperties", "minimum", "multipleOf", "oneOf", "pattern", "patternProperties", "prefixItems", "properties",
        "required", "type",
    }
)  # fmt: skip
# What is no longer there once a parameter's schema stands alone.
_TO_THE_WHOLE = re.compile(r'"\$ref": "(?!#/(?:\$defs|definitions)/)')
# What a schema of arguments can ask for: `type` is an object's, and a call has all required parameters.
_CARRIED = {"type", "properties", "required", "additionalProperties", "$ref"}


def carried_parameters(tool: Tool) -> Parameters:
    """Returns the parameters of a function whose arguments stand one by one; raises SchemaError for more than that."""
    if tool.arguments_grammar:
        raise SchemaError(f"its format of calls cannot be held to the grammar of the tool '{tool.name}'")
    parameters = Parameters(enforced_form(tool.parameters))
    top = parameters.top
    if others := [key for key in top if key in ASKING - _CARRIED and top[key] not in ([], {}, 0)]:
        raise SchemaError(f"its format of calls cannot be held to '{others[0]}' of the function '{tool.name}'")
    return parameters


def names_of(parameters: Parameters) -> list[tuple[str, bool]]:
    """Returns the parameters that a schema names, each with whether it is required."""
    properties, required = named(parameters.top, "properties"), members(parameters.top, "required")
    every = [*properties, *(name for name in required if name not in properties)]
    return [(name, name in required) for name in every]


def takes_any(parameters: Parameters) -> bool:
    """Whether there may be parameters that the schema does not name, with any value."""
    return parameters.top.get("additionalProperties", True) in (True, {})


def json_of(parameters: Parameters, schema: Any) -> str:
    """Returns the expression for a JSON value of the schema of one parameter."""
    if not isinstance(schema, dict):
        return json_rule({})
    schema = {**schema, **{key: parameters.root[key] for key in ("$defs", "definitions") if key in parameters.root}}
    if _TO_THE_WHOLE.search(json.dumps(schema)):
        raise SchemaError("its format of calls cannot be held to a reference to other places than '$defs'")
    return json_rule(schema)


def further_name(rule: str, parameters: Parameters) -> str:
    """Returns the terminal `rule` for the name of a parameter that the schema does not name."""
    names = [name for name, _ in names_of(parameters)]
    return f"{rule}: /[A-Za-z_][A-Za-z0-9_]{{0,63}}/" + (f" & ~{one_of(names)}" if names else "")


def shared_rules(rule: str, lines: list[str], known: dict[str, str]) -> Generator[str, None, str]:
    """Yields rules unless a known one says the same, and returns the name of the one that does: most are alike.

    `known` has the names of those so far, by what they say, and gets this one.
    """
    said = lines[0].removeprefix(rule)
    if len(lines) > 1 or said not in known:
        yield from lines
        if len(lines) > 1:
            return rule
        known[said] = rule
    return known[said]


class ValueRules:
    """The rules for the values of one function's parameters."""

    def __init__(self, parameters: Parameters, *, pad: str, close: str) -> None:
        """A value stands between `pad` and `pad` again, and then comes `close`, which no text can have in it."""
        self._parameters = parameters
        self._pad, self._close = pad, close

    def rules(self, rule: str, name: str) -> list[str]:
        """Returns rules, of which `rule` is a value of the parameter `name` and all that closes it.

        Raises SchemaError for what plain text cannot carry.
        """
        schema = self._resolved(self._parameters.of(name))
        kinds = self._parameters.kinds(schema)
        if not kinds or "string" not in kinds:
            return [f"{rule}: {self._json(schema)}"]
        if not isinstance(schema, dict):
            return [self._text(rule)]
        if "enum" in schema or "const" in schema:
            return [f"{rule}: {self._listed(schema, name)}"]
        keywords = [key for key in schema if key in ASKING and key != "type"]
        if kinds == {"string"} and keywords and all(key in _LENGTHS for key in keywords):
            return [self._bounded(rule, schema)]
        if not self._any_string(schema):
            raise SchemaError(_cannot(name, next((key for key in keywords if key not in _LENGTHS), keywords[0])))
        if self._free(schema):
            return [self._text(rule)]
        other = sorted(kinds - {"string"})
        first = "".join(dict.fromkeys(_FIRST[kind] for kind in other))
        json_part = self._json({"allOf": [schema], "type": other})
        return [f"{rule}: {rule}_text | {json_part}", self._text(f"{rule}_text", rf"([^\s{first}](?s:.)*|\s)?")]

    def free(self, rule: str) -> str:
        """Returns the rule `rule` for any text and all that closes it."""
        return self._text(rule)

    def _text(self, rule: str, pattern: str = "(?s:.)*") -> str:
        return f"{rule}[suffix={literal(self._close)}]: /{pattern}/"

    def _bounded(self, rule: str, schema: dict[str, Any]) -> str:
        least, most = schema.get("minLength", 0), schema.get("maxLength", "")
        end = (self._pad + self._close).replace("\n", r"\n").replace("/", r"\/")
        return f"{rule}[lazy]: /(?s:.){{{least},{most}}}{end}/"

    def _json(self, schema: Any) -> str:
        return f"{json_of(self._parameters, schema)} {literal(self._pad + self._close)}"

    def _listed(self, schema: dict[str, Any], name: str) -> str:
        if others := [key for key in schema if key in ASKING - {"type", "enum", "const"}]:
            raise SchemaError(_cannot(name, others[0]))
        values = members(schema, "enum") if "enum" in schema else [schema["const"]]
        texts = [value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in values]
        for value, text in zip(values, texts, strict=True):
            read = self._parameters.read(name, text)
            if self._close in text or read != value or isinstance(read, bool) != isinstance(value, bool):
                raise SchemaError(_cannot(name, "enum" if "enum" in schema else "const"))
        return f"{one_of(texts)} {literal(self._pad + self._close)}"

    def _resolved(self, schema: Any) -> Any:
        """Follows references that stand alone; they may lead in circles."""
        for _ in range(16):
            if not isinstance(schema, dict) or [key for key in schema if key in ASKING] != ["$ref"]:
                break
            schema = resolve(self._parameters.root, schema["$ref"])
        return schema

    def _any_string(self, schema: Any) -> bool:
        """Whether every string follows a schema that some string follows."""
        schema = self._resolved(schema)
        if not isinstance(schema, dict):
            return schema is not False
        if "string" not in self._parameters.kinds(schema):
            return False
        if any(key in schema for key in ("enum", "const", "pattern", "format", "allOf", "not", "$ref", *_LENGTHS)):
            return False
        groups = [members(schema, key) for key in _ALTERNATIVES if key in schema]
        return all(any(self._any_string(member) for member in group) for group in groups)

    def _free(self, schema: Any) -> bool:
        """Whether a schema says nothing of a value but its type."""
        schema = self._resolved(schema)
        if not isinstance(schema, dict):
            return schema is not False
        alternatives = [member for key in _ALTERNATIVES for member in members(schema, key)]
        asked = ASKING - {"type", *_ALTERNATIVES}
        return not any(key in asked for key in schema) and all(self._free(member) for member in alternatives)


def _cannot(name: str, keyword: str) -> str:
    return f"plain text cannot be held to '{keyword}' of the parameter '{name}'"
