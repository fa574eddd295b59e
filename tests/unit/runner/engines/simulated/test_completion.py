"""Completed answers follow their grammars, keep what may be kept, and end."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import Code, MeshError
from services.runner.engines.simulated.completion import complete
from services.runner.engines.simulated.spelling import detokenize, spell
from services.runner.engines.simulated.voice import Voice
from services.runner.kinds.text.prompt.grammar import answer_grammar
from services.runner.kinds.text.prompt.thought import Thought
from services.runner.kinds.text.prompt.tools import Mode, Tool, Toolbox

TREE: dict[str, Any] = {
    "$ref": "#/$defs/tree",
    "$defs": {
        "tree": {
            "type": "object",
            "properties": {
                "value": {"type": "number", "minimum": 100},
                "left": {"anyOf": [{"$ref": "#/$defs/tree"}, {"type": "null"}]},
                "others": {"type": "array", "items": {"$ref": "#/$defs/tree"}},
            },
            "required": ["value", "left", "others"],
            "additionalProperties": False,
        }
    },
}
SCHEMAS: list[dict[str, Any]] = [
    TREE,
    {"type": "object"},
    {"type": "array", "items": {"type": "integer", "multipleOf": 7}, "minItems": 20},
    {"type": "array", "items": {"type": "array", "items": {"type": "boolean"}, "minItems": 3}, "minItems": 40},
    {"type": "array", "items": {"type": "string", "minLength": 200}, "minItems": 2},
    {"enum": ['é😀\n"', 3, None, {"a": [1]}]},
    {"type": ["object", "null", "string"]},
    {"type": "number", "exclusiveMinimum": 0.5, "maximum": 0.75},
    *({"type": "string", "format": name} for name in ("email", "uuid", "date-time", "uri", "ipv4", "hostname", "date")),
    *(
        {"type": "string", "pattern": pattern}
        for pattern in ("^[a-z]*-x$", "^[0-9,]*;$", "^(foo|bar)+baz$", r"^\d{3}-\d{4}$", "^[}a]*z$", "^[a-z ]+[.]é$")
    ),
]
WEATHER = Tool("get_weather", "", {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
BOTH = (WEATHER, Tool("get_time"))
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'
OTHER = '\n<tool_call>\n{"name": "get_time", "arguments": {}}\n</tool_call>'
VOICE = Voice("prompt")


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
@pytest.mark.parametrize("said", ["", "I think", '{"value": 100, "left": null, "others"', '"', "["])
def test_every_schema_has_a_short_answer(schema: dict[str, Any], said: str) -> None:
    for prompt in ("a", "b", "c"):
        answer = complete([said], answer_grammar(schema, Toolbox()), Voice(prompt), thinking=False)
        jsonschema.validate(json.loads(answer), schema, format_checker=jsonschema.FormatChecker())
        assert len(answer) < 1000


@pytest.mark.parametrize("longest", [None, 160])
@pytest.mark.parametrize("opened", [True, False])
def test_thoughts_end_before_the_answer(longest: int | None, *, opened: bool) -> None:
    grammar = answer_grammar({"type": "integer"}, Toolbox(), thought=Thought(opened, longest))
    answer = complete(["well\n</think>\n\n", "seven"], grammar, VOICE, thinking=opened)
    thought, tag, content = answer.rpartition("</think>")
    assert isinstance(json.loads(content if tag else answer), int)
    if opened:
        assert thought == "well\n"
    assert len(answer) < 50


@pytest.mark.parametrize(
    ("toolbox", "parts", "expected"),
    [
        (Toolbox(BOTH, Mode.REQUIRED, required=BOTH), [CALL, OTHER], CALL + OTHER),
        # Words are left out where only calls may be said.
        (Toolbox(BOTH, Mode.REQUIRED, required=BOTH), ["Wait.", "\n" + CALL], CALL),
        (Toolbox(BOTH, Mode.REQUIRED, required=BOTH, single=True), [CALL, OTHER], CALL),
        (Toolbox(BOTH, Mode.AUTO, single=True), ["Wait.", "\n" + CALL, OTHER], f"Wait.\n{CALL}"),
        (Toolbox(BOTH, Mode.REQUIRED, required=BOTH[1:], single=True), [CALL], OTHER[1:]),
    ],
)
def test_parts_that_a_grammar_does_not_allow_are_left_out(toolbox: Toolbox, parts: list[str], expected: str) -> None:
    assert complete(parts, answer_grammar(None, toolbox), VOICE, thinking=False) == expected


def test_a_part_that_is_wrong_at_its_end_is_completed() -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 5}, "large": {"const": True}},
        "required": ["city", "large"],
    }
    grammar = answer_grammar(schema, Toolbox())
    assert complete(['{"city": "Paris"}'], grammar, VOICE, thinking=False) == '{"city": "Paris", "large": true}'
    assert complete(['{"city": "London"}'], grammar, VOICE, thinking=False) == '{"city": "Londo", "large": true}'


def test_an_answer_that_must_be_too_long_is_refused() -> None:
    schema = {"type": "array", "items": {"const": "x" * 500}, "minItems": 50}
    with pytest.raises(MeshError) as refusal:
        complete([], answer_grammar(schema, Toolbox()), VOICE, thinking=False)
    assert (refusal.value.code, refusal.value.param) == (Code.INVALID_REQUEST, "response_format")


@pytest.mark.parametrize("said", ["", "yes", "no"])
def test_a_grammar_that_stops_midway_is_refused(said: str) -> None:
    grammar = '%llguidance {}\nstart: "yes" NOTHING\nNOTHING: /[a-z]+/ & /[0-9]+/\n'
    with pytest.raises(MeshError) as refusal:
        complete([said], grammar, VOICE, thinking=False)
    assert (refusal.value.code, refusal.value.param) == (Code.INVALID_REQUEST, "response_format")


@given(st.text())
def test_spelling_keeps_every_text(text: str) -> None:
    tokens = spell(text)
    assert detokenize(tokens) == text
    assert len(tokens) <= max(len(text), 1)


@pytest.mark.parametrize("token_id", [2**32 - 1, 512 + 0xD800, 512 + 0x110000 + 128**2 + 128**3])
def test_ids_beyond_the_vocabulary_are_none(token_id: int) -> None:
    with pytest.raises(ValueError, match=str(token_id)):
        detokenize([token_id])
