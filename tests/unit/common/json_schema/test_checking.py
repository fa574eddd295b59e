"""Schemas that cannot be enforced, or would be slow, are refused with the keyword and its place."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import BaseModel, Field

from services.common.json_schema import checking as bounds
from services.common.json_schema.checking import SchemaError, check_schema


def an_object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


def optional(count: int) -> dict[str, Any]:
    return {"type": "object", "properties": {f"p{at}": {"type": "integer"} for at in range(count)}}


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(levels):
        schema = an_object(a=schema)
    return schema


def combined(factors: int, alternatives: int) -> dict[str, Any]:
    """Returns an allOf of so many anyOf with so many alternatives each."""
    return {
        "allOf": [
            {"anyOf": [{"type": "object", "properties": {f"p{at}": {"const": value}}} for value in range(alternatives)]}
            for at in range(factors)
        ]
    }


def doubling(levels: int) -> dict[str, Any]:
    """Returns references of which each means twice the next."""
    definitions: dict[str, Any] = {
        f"d{at}": {"allOf": [{"$ref": f"#/$defs/d{at + 1}"}, {"$ref": f"#/$defs/d{at + 1}"}]} for at in range(levels)
    }
    return {"$ref": "#/$defs/d0", "$defs": {**definitions, f"d{levels}": combined(1, 2)}}


def chain(length: int) -> dict[str, Any]:
    """Returns references of which each means the next."""
    definitions: dict[str, Any] = {f"d{at}": {"$ref": f"#/$defs/d{at + 1}"} for at in range(length)}
    return {"$ref": "#/$defs/d0", "$defs": {**definitions, f"d{length}": {}}}


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"enum": [f"value {number}" for number in range(20_000)]}, "too large"),
        ({"enum": list(range(bounds.MOST_ENUM_VALUES + 1))}, "'enum' values"),
        (an_object(a={"enum": list(range(600))}, b={"enum": list(range(600))}), "'enum' values"),
        (nested(1000), "levels deep"),
        ({"const": "x" * bounds.LARGEST_SCHEMA}, "too large"),
        ({"type": "array", "minItems": 10**9}, "'minItems' at # is 1000000000; at most"),
        ({"type": "array", "maxItems": 10**9}, "'maxItems'"),
        (an_object(a={"type": "string", "maxLength": 10**9}), "'maxLength' at #/properties/a"),
        ({"type": "string", "pattern": "a" * 2000}, "'pattern'"),
        ({"type": "integer", "multipleOf": 99_991}, "'multipleOf'"),
        (an_object(**{f"p{at}": {"type": "integer", "multipleOf": 900 + at} for at in range(9)}), "'multipleOf'"),
        (optional(251), "not required"),
        (an_object(**{f"p{at}": True for at in range(1001)}), "properties"),
        (combined(4, 3), "the alternatives at # combine"),
        (an_object(a=combined(20, 4)), "the alternatives at #/properties/a combine"),
        (doubling(40), "combine"),
        ({"anyOf": [{"required": [f"p{at}"]} for at in range(200)], **optional(200)}, "combine"),
        ({"patternProperties": {f"^x{at}": {} for at in range(17)}}, "'patternProperties'"),
        ({"type": "string", "pattern": "^(ab|c)*$", "minLength": 100_000}, "'minLength'"),
        (chain(1500), "references lead too deep"),
        ({"type": "array", "uniqueItems": True}, "the keyword 'uniqueItems' at # is not supported"),
        (an_object(a={"items": {"not": {}}}), "'not' at #/properties/a/items"),
        ({"anyOf": [{}, {"if": {}, "then": {"type": "string"}}]}, "'if' at #/anyOf/1"),
        ({"type": "array", "contains": {}, "minContains": 0, "maxContains": 2}, "'contains' at #"),
        ({"dependentRequired": {"a": ["b"]}, "required": ["a"]}, "'dependentRequired' at #"),
        ({"propertyNames": {"pattern": "^a"}}, "'propertyNames' at #"),
        ({"type": "integer", "minimum": 2**63}, "'minimum' at # is 9223372036854775808; at most 9007199254740992"),
        (an_object(a={"maximum": -1e300}), "'maximum' at #/properties/a is -1e+300; at least -9007199254740992"),
        ({"type": "number", "exclusiveMinimum": 1e-300}, "'exclusiveMinimum' at # is too small a number"),
        (an_object(a={"pattern": "^(?!x)[a-z]{3}$"}), "the 'pattern' at #/properties/a has a look-around"),
        ({"pattern": "a(?=b)"}, "a look-around"),
        ({"pattern": "(?<=a)b"}, "a look-around"),
        ({"pattern": "(?<!a)b"}, "a look-around"),
        ({"pattern": r"(a)\1"}, "a back-reference"),
        (an_object(a={"pattern": "^(^a)$"}), "the 'pattern' at #/properties/a has two anchors in one place"),
        ({"pattern": r"^\Ax\z$"}, "the 'pattern' at # has two anchors in one place"),
        ({"pattern": r"(?:(a$))$"}, "two anchors in one place"),
        ({"pattern": "^(?P<n>^a)"}, "two anchors in one place"),
        (an_object(a={"type": "integer", "maximum": -5, "multipleOf": 5}), "'multipleOf' at #/properties/a is next to"),
        ({"exclusiveMaximum": 0, "multipleOf": 0.5}, "'multipleOf' at # is next to a bound that only negative numbers"),
        ({"pattern": r"(?P<x>a)(?P=x)"}, "a back-reference"),
        ({"pattern": r"\bword\b"}, "a word boundary"),
        ({"pattern": r"(?>a+)b"}, "an atomic group"),
        ({"patternProperties": {"^(?!x)": {}}}, "a name in 'patternProperties' at # has a look-around"),
        ({"additionalProperties": {"type": "integer"}, "minProperties": 2, "maxProperties": 2}, "'minProperties' at #"),
        ({"type": "object", "minProperties": 2}, "'minProperties' at # is 2, but names that are not in"),
        ({"patternProperties": {"^a": {}}, "additionalProperties": False, "minProperties": 3}, "use at most 1"),
        ({**an_object(a={}), "additionalProperties": {}, "minProperties": 3}, "use at most 2, or name the properties"),
        ({**optional(3), "minProperties": 2}, "'minProperties' at # needs every property there to be in 'required'"),
        ({**optional(3), "maxProperties": 2}, "'maxProperties' at # needs every property there to be in 'required'"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"contains": {}}}}, "'contains' at #/$defs/a"),
        ({"type": ["string", "null"], "format": "credit-card"}, "'format' at # is not supported"),
        (an_object(a={"$ref": "https://example.com/a"}), "the '$ref' at #/properties/a leads to another document"),
        (an_object(a={"type": "text"}), "the 'type' at #/properties/a is not one of JSON Schema"),
        ({"anyOf": [{"type": ["string", None]}]}, "the 'type' at #/anyOf/0"),
    ],
)
def test_what_is_refused(schema: dict[str, Any], reason: str) -> None:
    with pytest.raises(SchemaError, match=re.escape(reason)):
        check_schema(schema)


class Node(BaseModel):
    """As pydantic writes it: titles, descriptions, defaults, references."""

    name: str = Field(min_length=1, max_length=20, description="A name")
    kind: str = "leaf"
    score: float = Field(default=0.5, ge=0, le=1, multiple_of=0.01)
    children: list[Node] = Field(default_factory=list, max_length=3)
    parent: Node | None = None


@pytest.mark.parametrize(
    "schema",
    [
        Node.model_json_schema(),
        {},
        nested(20),
        doubling(2),
        combined(3, 3),
        combined(1, 200),
        {"anyOf": [{"required": [f"p{at}"]} for at in range(20)], **optional(20)},
        {"type": "integer", "format": "int64", "multipleOf": 100_000},
        {"type": "object", "x-vendor": {"not": "a keyword here"}, "deprecated": True},
        {"$defs": {"unused": {"not": {}}}, "type": "string", "format": "uuid"},
        an_object(contains={"type": "string"}, enum={"const": "properties may be named as keywords are"}),
        {"pattern": r"[(?!)]\(?!\[x[(?=x]\\\\1[\b]"},
        {"pattern": r"^\^$|[$^]+\$$|(^a$)|(^b$)"},
        {"type": "string", "format": "uri", "minLength": 1, "maxLength": 2083},
        {"type": "integer", "maximum": 0, "multipleOf": 5},
        {"type": "integer", "maximum": -5, "multipleOf": 1},
        {"$ref": "#"},
        {"$ref": "#/$defs/nowhere"},
    ],
)
def test_what_is_left_to_the_compiler(schema: dict[str, Any]) -> None:
    check_schema(schema)
