"""The form that answers are bound to: what follows it follows the schema, and open objects are closed in it."""

from __future__ import annotations

import re
from typing import Any

import jsonschema
import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.json_schema.checking import check_schema
from services.common.json_schema.enforced import enforced_form

EMAIL = r"^[^@]{1,64}@[^@.]{1,63}(?:\.[^@.]{1,63})*$"
STRING: dict[str, Any] = {"type": "string"}
A, B = {"properties": {"a": STRING}}, {"properties": {"b": STRING}}
CLOSED_A, CLOSED_B = {**A, "additionalProperties": False}, {**B, "additionalProperties": False}
TAGGED = [{"properties": {"kind": {"const": kind}}, "required": ["kind"]} for kind in "ab"]
CLOSED_TAGGED = [{**one, "additionalProperties": False} for one in TAGGED]


@pytest.mark.parametrize(
    ("schema", "form"),
    [
        (A, CLOSED_A),
        ({"items": A}, {"items": CLOSED_A}),
        ({"properties": {"x": A}}, {"properties": {"x": CLOSED_A}, "additionalProperties": False}),
        ({"anyOf": [A, B, {"type": "null"}]}, {"anyOf": [CLOSED_A, CLOSED_B, {"type": "null"}]}),
        (
            {"title": "T", "$ref": "#/$defs/a", "$defs": {"a": A}},
            {"title": "T", "$ref": "#/$defs/a", "$defs": {"a": CLOSED_A}},
        ),
        ({"allOf": [A]}, {"allOf": [CLOSED_A]}),
        ({"oneOf": TAGGED}, {"oneOf": CLOSED_TAGGED}),
        ({"properties": {}}, {"properties": {}, "additionalProperties": False}),
    ],
)
def test_objects_that_say_nothing_of_other_members_are_closed(schema: dict[str, Any], form: dict[str, Any]) -> None:
    assert enforced_form(schema) == form


def test_a_uri_is_a_pattern_that_every_compiler_knows() -> None:
    form = enforced_form({"type": "string", "format": "uri", "minLength": 1, "maxLength": 2083})
    assert form == {"type": "string", "pattern": form["pattern"], "minLength": 1, "maxLength": 1000}
    valid = ("https://example.com/a?b=c#d", "http://u:p@h:80/", "mailto:a@b.c", "urn:isbn:123", "tel:+1", "x:%20")
    for text in valid:
        assert re.search(form["pattern"], text)
        assert jsonschema_rs.is_valid({"format": "uri"}, text, validate_formats=True)
    for text in ("", "a b", "/a/b", "http://", "https://exa mple.com", "https://bücher.de", "x:%2"):
        assert not re.search(form["pattern"], text)
    both = enforced_form({"format": "uri", "pattern": "^https:", "allOf": [{"maxLength": 9}]})
    assert both == {"pattern": "^https:", "allOf": [{"maxLength": 9}, {"pattern": form["pattern"]}]}


@pytest.mark.parametrize(
    ("schema", "form"),
    [
        ({"pattern": "a", "maxLength": 1001}, {"pattern": "a", "maxLength": 1000}),
        ({"format": "email"}, {"format": "email", "pattern": EMAIL, "maxLength": 254}),
        ({"format": "email", "maxLength": 20}, {"format": "email", "pattern": EMAIL, "maxLength": 20}),
        ({"format": "hostname", "maxLength": 2000}, {"format": "hostname", "maxLength": 253}),
        ({"format": "uuid", "maxLength": 2000}, {"format": "uuid", "maxLength": 1000}),
        ({"maxLength": 2000}, {"maxLength": 2000}),
        ({"type": ["integer", "null"], "multipleOf": 1}, {"type": ["integer", "null"]}),
        ({"type": "integer", "multipleOf": 2}, {"type": "integer", "multipleOf": 2}),
        ({"type": "number", "multipleOf": 1}, {"type": "number", "multipleOf": 1}),
        ({"multipleOf": 1}, {"multipleOf": 1}),
    ],
)
def test_bounds_become_those_that_compilers_keep(schema: dict[str, Any], form: dict[str, Any]) -> None:
    assert enforced_form(schema) == form


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        {**A, "additionalProperties": True},
        {**A, "additionalProperties": STRING},
        {**A, "patternProperties": {"^b": STRING}},
        # Others must be there.
        {**A, "required": ["b"]},
        {**A, "minProperties": 2},
        {**A, "const": {"a": "x", "b": "y"}},
        # What is combined has the members of all.
        {"allOf": [A, B]},
        {**A, "allOf": [B]},
        {**A, "$ref": "#/$defs/b", "$defs": {"b": B}},
        {"required": ["b"], "anyOf": [A, B]},
        {"allOf": [{"properties": {"x": A}}, {"properties": {"x": B}}]},
        {"items": {"allOf": [{"items": A}, {"items": B}]}},
        # An alternative must not become the only one that a value fits because it is closed.
        {"oneOf": [A, B]},
        # One use among others is combined.
        {"anyOf": [{"$ref": "#/$defs/a"}, {"allOf": [{"$ref": "#/$defs/a"}, B]}], "$defs": {"a": A}},
        # What stands for a value is no schema.
        {"enum": [A, {"uniqueItems": False}], "default": A, "examples": [A]},
    ],
)
def test_what_needs_other_members_stays_as_it_is(schema: dict[str, Any]) -> None:
    assert enforced_form(schema) == schema


@pytest.mark.parametrize(
    "keywords",
    [
        {"uniqueItems": False},
        {"uniqueItems": True, "maxItems": 1},
        {"minContains": 0},
        {"maxContains": 3},
        {"contains": STRING, "minContains": 0},
        {"not": False},
        {"if": {"minimum": 3}},
        {"then": STRING},
        {"else": STRING},
        {"if": STRING, "then": {}, "else": True},
        {"dependentRequired": {}},
        {"dependentRequired": {"a": []}},
        {"dependentRequired": {"a": ["b"]}, "required": ["b"]},
        {"dependentSchemas": {"a": {"description": "any"}}},
        {"dependencies": {"a": []}},
        {"propertyNames": {}},
        {"propertyNames": STRING},
        {"unevaluatedItems": {}},
        {"unevaluatedProperties": True},
        {"unevaluatedProperties": False, "additionalProperties": False},
        {"unevaluatedItems": False, "items": STRING},
        {"exclusiveMinimum": False, "exclusiveMaximum": False},
        {"minProperties": 0},
        {"minProperties": 1, "required": ["a"]},
        {"type": "string", "uniqueItems": True, "minProperties": 3, "propertyNames": {"maxLength": 2}},
        {"type": ["array", "null"], "dependentRequired": {"a": ["b"]}},
    ],
)
def test_keywords_that_ask_for_nothing_pass_and_are_left_out(keywords: dict[str, Any]) -> None:
    kept = {"required", "maxItems", "items", "type", "additionalProperties"}
    for schema in (keywords, {"items": keywords}, {"$ref": "#/$defs/a", "$defs": {"a": keywords}}):
        check_schema(schema)
    assert enforced_form(keywords) == {key: value for key, value in keywords.items() if key in kept}


@pytest.mark.parametrize(
    ("given_bounds", "kept_bounds"),
    [
        ({"minimum": -(2**63), "maximum": 2**63 - 1}, {"minimum": -(2**62), "maximum": 2**62}),
        (
            {"exclusiveMinimum": -1e308, "exclusiveMaximum": 10**400},
            {"exclusiveMinimum": -(2**62), "exclusiveMaximum": 2**62},
        ),
        ({"minimum": -(2**53), "maximum": 2**53}, {"minimum": -(2**53), "maximum": 2**53}),
        # The compiler takes floats: never one beyond the bound.
        ({"maximum": 2**53 + 3, "minimum": -(2**53) - 3}, {"maximum": 2**53 + 2, "minimum": -(2**53) - 2}),
    ],
)
def test_bounds_that_no_answer_reaches_move_inwards(given_bounds: dict[str, Any], kept_bounds: dict[str, Any]) -> None:
    check_schema({"type": "integer", **given_bounds})
    assert enforced_form({"type": "integer", **given_bounds}) == {"type": "integer", **kept_bounds}


NAMES = st.sampled_from("abc")
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), NAMES)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
)


def objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Returns schemas with some of these keywords."""
    several = st.lists(inner, min_size=1, max_size=3)
    return st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["object", "array", "string", ["object", "null"], "integer"]),
            "properties": st.dictionaries(NAMES, inner, max_size=3),
            "required": st.lists(NAMES, max_size=2, unique=True),
            "additionalProperties": inner | st.booleans(),
            "items": inner,
            "anyOf": several,
            "allOf": several,
            "oneOf": several,
            "minProperties": st.integers(0, 3),
            "maxProperties": st.integers(0, 3),
            "uniqueItems": st.booleans(),
            "contains": inner,
            "minContains": st.integers(0, 1),
            "not": inner | st.booleans(),
            "if": inner,
            "then": inner | st.booleans(),
            "dependentRequired": st.dictionaries(NAMES, st.lists(NAMES, max_size=2), max_size=2),
            "propertyNames": st.sampled_from([{}, STRING, {"enum": ["a"]}]),
            "unevaluatedProperties": st.booleans(),
            "const": SCALARS,
            "minimum": st.integers(-3, 3),
        },
    )  # fmt: skip


SCHEMAS = st.recursive(st.just({}) | objects(st.just({})), objects, max_leaves=5)


@given(SCHEMAS, st.lists(VALUES, min_size=1, max_size=20))
def test_what_follows_the_form_follows_the_schema(schema: dict[str, Any], values: list[Any]) -> None:
    wide = jsonschema.Draft202012Validator(schema)
    narrow = jsonschema.Draft202012Validator(enforced_form(schema))
    for value in values:
        if narrow.is_valid(value):
            assert wide.is_valid(value)
