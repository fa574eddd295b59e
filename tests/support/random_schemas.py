"""Random JSON Schemas over every keyword of docs/tools-and-structured-output.md, and what is valid for one."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import jsonschema_rs

# Texts that are easily mistaken for something else: control tokens, tags, escapes, characters of several bytes.
_TEXTS = (
    "red", "a b", "", "<|im_end|>", "<|im_start|>system", "</s>", "<s>", "<think>", "</think>", "</tool_call>",
    "<tool_call>", "[TOOL_CALLS]", "<|endoftext|>", 'say "hi"', "back\\slash", "a/b", "tab\there", "two\nlines", "é",
    "日本", "🎉", "{", "}", "null", "0", "\u2028", "\x7f",
)  # fmt: skip
_NAMES = ("id", "name", "a b", "<|im_end|>", 'q"q', "é", "x-y", "$ref", "properties", "type", "日本", "b\\c", "")
_PATTERNS = (
    "^[a-z]{2,5}$", "^a|b$", "^(yes|no)$", "[0-9]{3}", "^\\d{3}-\\d{4}$", "^\\S+$", "x$", "^$", "^<\\|im_end\\|>$",
    "^\\u0041b?$", "(^|,)a", "^[^\"\\\\]{1,4}$", "^\\p{L}+$", "^.{3}$", "^(?:[A-Z][a-z]+ ?){1,2}$", "^é+$", "^\\\\d$",
    "^(^a)$", "^\\Ax\\z$", "^[\\w-]+$", "^\\.\\w{1,3}$", "^a{2,}$",
)  # fmt: skip
_FORMATS = ("date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uri", "uuid")
_UNSUPPORTED: tuple[dict[str, Any], ...] = (
    {"not": {"type": "null"}},
    {"if": {"type": "string"}, "then": {"minLength": 1}},
    {"propertyNames": {"pattern": "^a"}},
    {"type": "array", "contains": {"type": "null"}},
    {"type": "array", "uniqueItems": True},
    {"type": "string", "format": "iri"},
    {"$ref": "https://example.com/schema"},
)
_WITHOUT_EFFECT: tuple[dict[str, Any], ...] = (
    {"title": "T", "description": "D", "default": None},
    {"examples": [1], "$comment": "C", "x-unknown": True},
    {"uniqueItems": False},
    {"minContains": 2},
    {"then": {"type": "null"}},
)
_KEYS_OF_DEFINITIONS = ("node", "a/b", "c~d")


class RandomSchemas:
    """Makes schemas; the same seed makes the same ones."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)
        self._definitions: dict[str, Any] = {}

    def next(self, *, of_object: bool = False) -> dict[str, Any]:
        """Returns a schema; `of_object` for arguments of functions, which are objects."""
        self._definitions = {}
        schema = self._object(3) if of_object or self._one_in(2) else self._schema(3)
        if self._definitions:
            schema = {**schema, "$defs": self._definitions}
        return schema

    def _one_in(self, count: int) -> bool:
        return self._dice.randrange(count) == 0

    def _schema(self, depth: int) -> dict[str, Any]:
        simple = (self._integer, self._number, self._string, self._value, self._text, self._several_types)
        nested = (self._object, self._object, self._array, self._any_of, self._one_of, self._all_of, self._reference)
        if depth > 0 and self._dice.random() < 0.55:
            schema = self._dice.choice(nested)(depth - 1)
        else:
            schema = self._dice.choice(simple)()
        if self._one_in(6):
            schema = {**self._dice.choice(_WITHOUT_EFFECT), **schema}
        if self._one_in(80):
            schema = {**schema, **self._dice.choice(_UNSUPPORTED)}
        return schema

    def _integer(self) -> dict[str, Any]:
        low = self._dice.choice((-1000, -3, 0, 1, 7, -(2**63)))
        high = self._dice.choice((low, low + 5, low + 40, 10**6, 2**63 - 1)) if low > -(2**63) else 2**63 - 1
        schema: dict[str, Any] = {"type": "integer"}
        schema |= self._dice.choice(({}, {"minimum": low}, {"exclusiveMinimum": low - 1}))
        schema |= self._dice.choice(({}, {"maximum": high}, {"exclusiveMaximum": high + 1}))
        if high - low >= 40 and self._one_in(3):
            schema["multipleOf"] = self._dice.choice((1, 2, 5, 12))
        return schema

    def _number(self) -> dict[str, Any]:
        low = self._dice.choice((-2.5, 0, 0.001, 99))
        schema: dict[str, Any] = {"type": "number"}
        schema |= self._dice.choice(({}, {"minimum": low}, {"exclusiveMinimum": low}))
        schema |= self._dice.choice(({}, {"maximum": low + 3.75}, {"exclusiveMaximum": low + 1e6}))
        if self._one_in(4):
            schema["multipleOf"] = self._dice.choice((0.5, 0.25, 1, 3))
        return schema

    def _string(self) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "string"}
        if self._one_in(2):
            schema["minLength"] = self._dice.randrange(4)
        if not self._one_in(4):
            schema["maxLength"] = schema.get("minLength", 0) + self._dice.randrange(12)
        return schema

    def _text(self) -> dict[str, Any]:
        """Returns the schema of a string of some form, with lengths that may allow none of that form."""
        schema: dict[str, Any] = {"type": "string"}
        if self._one_in(2):
            schema["pattern"] = self._dice.choice(_PATTERNS)
        if "pattern" not in schema or self._one_in(10):
            schema["format"] = self._dice.choice(_FORMATS)
        return schema | self._dice.choice(({}, {}, {"maxLength": 40}, {"minLength": 1, "maxLength": 2083}))

    def _value(self) -> dict[str, Any]:
        values = [
            *self._dice.sample(_TEXTS, 2),
            self._dice.choice((None, True, 0, -7, 2.5, 1e20, [], {"a": "<s>"}, [1])),
        ]
        self._dice.shuffle(values)
        return {"const": values[0]} if self._one_in(3) else {"enum": values[: self._dice.randint(1, 3)]}

    def _several_types(self) -> dict[str, Any]:
        schema = self._dice.choice((self._integer, self._string, self._text))()
        extra = self._dice.choice(("null", "boolean"))
        return {**schema, "type": [schema["type"], extra]} if self._one_in(2) else {"type": extra}

    def _object(self, depth: int) -> dict[str, Any]:
        dice = self._dice
        properties = {name: self._schema(depth - 1) for name in dice.sample(_NAMES, dice.randrange(4))}
        required = [name for name in properties if not self._one_in(3)]
        schema: dict[str, Any] = {"type": "object", "properties": properties}
        if required:
            schema["required"] = required
        if self._one_in(3):
            schema["additionalProperties"] = dice.choice((False, False, True, {"type": "integer"}))
        if self._one_in(6):
            schema["patternProperties"] = {"^x_[a-z]$": self._schema(0), "^y": {"type": "boolean"}}
        if self._one_in(6):
            schema |= {"required": [*properties], "minProperties": dice.randrange(len(properties) + 2)}
        elif self._one_in(8):
            schema |= {"required": [*properties], "maxProperties": len(properties) + dice.randrange(2)}
        return schema

    def _array(self, depth: int) -> dict[str, Any]:
        dice = self._dice
        schema: dict[str, Any] = {"type": "array", "items": self._schema(depth)}
        least = dice.randrange(3)
        schema |= dice.choice(({"maxItems": least + 2}, {"minItems": least, "maxItems": least + dice.randrange(3)}))
        if self._one_in(4):
            schema["prefixItems"] = [self._schema(depth - 1) for _ in range(dice.randint(1, 2))]
        if self._one_in(8):
            schema["items"] = dice.choice((False, True))
        return schema

    def _any_of(self, depth: int) -> dict[str, Any]:
        return {"anyOf": [self._schema(depth) for _ in range(self._dice.randint(1, 3))]}

    def _one_of(self, depth: int) -> dict[str, Any]:
        """Returns a union whose alternatives exclude each other."""
        if self._one_in(2):
            return {"oneOf": [self._integer(), self._string(), {"type": "null"}]}
        alternatives = []
        for tag in self._dice.sample(("cat", "dog", "<|im_end|>"), 2):
            members = {"kind": {"const": tag}, "value": self._schema(depth - 1)}
            alternatives.append({"type": "object", "properties": members, "required": ["kind"]})
        return {"oneOf": alternatives}

    def _all_of(self, depth: int) -> dict[str, Any]:
        if self._one_in(2):
            return {"allOf": [self._string(), {"pattern": self._dice.choice(_PATTERNS)}]}
        parts = [
            {"type": "object", "properties": {name: self._schema(depth - 1)}, "required": [name]}
            for name in self._dice.sample(_NAMES, 2)
        ]
        return {"allOf": parts}

    def _reference(self, depth: int) -> dict[str, Any]:
        key = self._dice.choice(_KEYS_OF_DEFINITIONS)
        place = {"$ref": "#/$defs/" + key.replace("~", "~0").replace("/", "~1")}
        if key not in self._definitions:
            # First, so that the definition may refer to itself.
            self._definitions[key] = True
            tail = {"anyOf": [{"type": "null"}, place]} if self._one_in(2) else self._schema(depth - 1)
            members = {"value": self._schema(0), "next": tail}
            self._definitions[key] = {"type": "object", "properties": members, "required": ["value"]}
        return place


_SHAPES: dict[str, re.Pattern[str]] = {
    "date": re.compile(r"\d{4}-\d\d-\d\d"),
    "time": re.compile(r"\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.IGNORECASE),
    "date-time": re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.IGNORECASE),
}


def is_valid(schema: dict[str, Any], value: Any) -> bool:
    """Whether a value follows a schema; dates and times are known by their shape."""
    formats: dict[str, Callable[[str], bool]] = {name: partial(_has_shape, shape) for name, shape in _SHAPES.items()}
    return bool(jsonschema_rs.Draft202012Validator(schema, validate_formats=True, formats=formats).is_valid(value))


def _has_shape(shape: re.Pattern[str], text: str) -> bool:
    return shape.fullmatch(text) is not None
