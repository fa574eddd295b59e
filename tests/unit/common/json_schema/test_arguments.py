"""Whatever a function's schema admits, its arguments are an object; a schema that admits none is refused."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.json_schema.arguments import NO_PARAMETERS, arguments_schema
from services.common.json_schema.checking import SchemaError, check_schema

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
VALUES = [{}, {"city": "Oslo"}, {"city": 7}, {"next": None}, {"next": {"next": None}}, None, True, 5, "x", [], [{}]]
LIST = {"type": ["object", "null"], "properties": {"next": {"$ref": "#"}}, "required": ["next"]}


def admitted(schema: dict[str, Any]) -> list[Any]:
    validator = jsonschema.Draft202012Validator(schema)
    return [value for value in VALUES if validator.is_valid(value)]


SIMPLE = st.sampled_from(
    [
        {}, CITY, {"type": "object"}, {"type": "null"}, {"type": "string"}, {"type": ["object", "null"]},
        {"type": ["string", "null"]},
        {"enum": ["x", {"city": "Oslo"}]}, {"enum": ["x", 5]}, {"const": {}}, {"const": 5}, {"const": {"$ref": "#"}},
        {"$ref": "#/$defs/city"}, {"$ref": "#/$defs/text"}, {"properties": {"next": {"$ref": "#/$defs/city"}}}, LIST,
    ]
)  # fmt: skip
SCHEMAS = st.recursive(
    SIMPLE,
    lambda inner: st.builds(
        lambda base, key, members: {**base, key: members},
        SIMPLE,
        st.sampled_from(["anyOf", "allOf", "oneOf"]),
        st.lists(inner, min_size=1, max_size=3),
    ),
    max_leaves=6,
)


@given(SCHEMAS)
def test_the_objects_of_a_schema_are_left_and_nothing_else(schema: dict[str, Any]) -> None:
    schema = {**schema, "$defs": {"city": CITY, "text": {"type": "string"}}}
    before = json.dumps(schema)
    objects = [value for value in admitted(schema) if isinstance(value, dict)]
    try:
        narrowed = arguments_schema(schema)
    except SchemaError:
        assert not objects
    else:
        assert admitted(narrowed) == objects
    assert json.dumps(schema) == before


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string"},
        {"type": ["string", "null"]},
        {"enum": ["a", 1]},
        {"const": "a"},
        {"anyOf": [{"type": "string"}, {"type": "null"}]},
        {"oneOf": [{"$ref": "#/$defs/a"}, False], "$defs": {"a": {"type": "array"}}},
        {"allOf": [CITY, {"type": "string"}]},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"type": "string"}}},
    ],
)
def test_a_schema_without_objects_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(SchemaError, match="let its 'type' be 'object'"):
        arguments_schema(schema)


def test_what_refers_to_the_whole_schema_may_still_be_something_else() -> None:
    narrowed = arguments_schema({**LIST, "$defs": {"whole": {}}})
    assert admitted(narrowed) == [{"next": None}, {"next": {"next": None}}]
    check_schema(narrowed)


def test_references_in_circles_and_many_alternatives_take_no_time() -> None:
    circle = {"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}, {"$ref": "#"}]}}}
    assert arguments_schema(circle)["type"] == "object"
    doubled: dict[str, Any] = {f"d{at}": {"anyOf": [{"$ref": f"#/$defs/d{at + 1}"}] * 2} for at in range(60)}
    with pytest.raises(SchemaError):
        arguments_schema({"$ref": "#/$defs/d0", "$defs": {**doubled, "d60": {"type": "string"}}})


def test_no_parameters_are_an_empty_object() -> None:
    assert arguments_schema(NO_PARAMETERS) == NO_PARAMETERS
    assert admitted(NO_PARAMETERS) == [{}]
