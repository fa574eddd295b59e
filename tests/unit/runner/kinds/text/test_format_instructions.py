"""What the parts of an answer mean reaches the model as text, for no grammar can say it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from services.runner.kinds.text.format_instructions import format_instructions
from tests.unit.runner.kinds.text.test_reader import WEATHER, call, read
from tiermesh.runner.v1 import runner_pb2 as pb

CITY = {"type": "string", "description": "In its own language, Köln for example"}
NAMED = {"type": "object", "properties": {"city": CITY}}


def wanted(schema: dict[str, Any], description: str = "") -> pb.ResponseFormat:
    return pb.ResponseFormat(json_schema=msgspec.json.encode(schema).decode(), description=description)


@pytest.mark.parametrize(
    "schema",
    [
        NAMED,
        {"description": "A place", "type": "object"},
        {"$defs": {"City": CITY}, "$ref": "#/$defs/City"},
        {"anyOf": [{"type": "null"}, {"type": "array", "items": CITY}]},
    ],
)
def test_a_schema_with_a_description_is_shown(schema: dict[str, Any]) -> None:
    shape = wanted(schema)
    assert format_instructions(shape, schema) == f"The answer is JSON.\nIts JSON Schema is:\n{shape.json_schema}"


def test_the_description_of_the_format_is_shown() -> None:
    schema = {"type": "object"}
    shown = format_instructions(wanted(schema, "A city of France."), schema)
    assert shown.startswith("The answer is JSON. A city of France.\n")


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"city": {"type": "string", "title": "City"}}},
        {"type": "object", "properties": {"description": {"type": "string"}}},
        {"type": "string", "description": " "},
    ],
)
def test_a_schema_without_descriptions_costs_no_tokens(schema: dict[str, Any]) -> None:
    assert format_instructions(wanted(schema), schema) == ""


def test_the_instructions_follow_those_of_the_client() -> None:
    messages = [pb.Message(role="system", content="Be brief."), pb.Message(role="user", content="hi")]
    prompt = read(call(messages=messages, response_format=wanted(NAMED))).job.prompt
    assert "<|im_start|>system\nBe brief.\n\nThe answer is JSON.\nIts JSON Schema is:\n{" in prompt
    assert "Köln" in prompt
    alone = read(call(response_format=wanted(NAMED))).job.prompt
    assert alone.startswith("<|im_start|>system\nThe answer is JSON.")


def test_an_answer_of_calls_has_no_such_shape() -> None:
    forced = pb.ToolChoice(mode=pb.ToolChoice.MODE_REQUIRED)
    shown = read(call(tools=[WEATHER], tool_choice=forced, response_format=wanted(NAMED))).job.prompt
    assert shown == read(call(tools=[WEATHER], tool_choice=forced)).job.prompt


def test_no_schema_is_shown_for_any_object() -> None:
    assert read(call(response_format=pb.ResponseFormat(json_object=True))).job.prompt == read(call()).job.prompt
