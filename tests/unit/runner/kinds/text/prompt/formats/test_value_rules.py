"""A forced argument as plain text stands for a valid value, and a schema that text cannot carry is refused."""

from __future__ import annotations

import itertools
from typing import Any

import llguidance
import pytest

from services.common.errors import MeshError
from services.runner.kinds.text.prompt import grammar
from services.runner.kinds.text.prompt.formats import FORMATS
from services.runner.kinds.text.prompt.grammar import answer_grammar
from services.runner.kinds.text.prompt.tools import Mode, Tool, Toolbox


def answer(parameters: dict[str, Any], *, strict: bool = False) -> str:
    tool = Tool("f", "", parameters, strict=strict)
    toolbox = Toolbox((tool,)) if strict else Toolbox((tool,), Mode.REQUIRED, required=(tool,), single=True)
    return answer_grammar(None, toolbox, tool_format=FORMATS["qwen3-coder"])


def accepts(parameters: dict[str, Any], text: str) -> bool:
    matcher = llguidance.LLMatcher(grammar.byte_tokenizer(), answer(parameters))
    data = list(f"<tool_call>\n<function=f>\n{text}</function>\n</tool_call>".encode())
    return bool(matcher.try_consume_tokens(data) == len(data) and matcher.is_accepting())


def argument(value: str, name: str = "a") -> str:
    return f"<parameter={name}>\n{value}\n</parameter>\n"


def only(schema: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": schema}, "required": ["a"]}


LIST_OR_TEXT = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "integer"}}]}


@pytest.mark.parametrize(
    ("schema", "right", "wrong"),
    [
        ({"type": "string", "title": "A", "x-order": 1}, ["", "5", 'a "quoted" \n<b>'], []),
        ({}, ["", "[1", "null"], []),
        ({"type": "string", "minLength": 2, "maxLength": 3}, ["ab", "abc"], ["a", "abcd"]),
        ({"type": "integer", "minimum": 3}, ["3", "40"], ["2", "three", "3.5", ""]),
        ({"enum": ["left", "right", 5, None]}, ["left", "5", "null"], ["up", '"left"', ""]),
        ({"const": "yes"}, ["yes"], ["no"]),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, ["null", "a", ""], []),
        ({"type": ["string", "integer"]}, ["5", "five"], []),
        (LIST_OR_TEXT, ["[1, 2]", "word", ""], ['["a"]', "[1", " [1]"]),
        ({"type": "object", "properties": {"b": {"type": "boolean"}}}, ['{"b": true}', "{}"], ["{b: true}", "b"]),
        ({"type": "array", "items": {"$ref": "#/$defs/n"}}, ["[1]"], ['["a"]']),
        ({"$ref": "#/$defs/n"}, ["1"], ["a"]),
        ({"type": "boolean"}, ["true", "false"], ["True", "yes"]),
    ],
)
def test_values(schema: Any, right: list[str], wrong: list[str]) -> None:
    parameters = {**only(schema), "$defs": {"n": {"type": "integer"}}}
    assert all(accepts(parameters, argument(value)) for value in right)
    assert not any(accepts(parameters, argument(value)) for value in wrong)
    assert not accepts(parameters, "")


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        (only({"type": "string", "pattern": "^a"}), "'pattern' of the parameter 'a'"),
        (only({"type": "string", "format": "date"}), "'format' of the parameter 'a'"),
        (only({"anyOf": [{"type": "string", "maxLength": 3}, {"type": "null"}]}), "'anyOf' of the parameter 'a'"),
        (only({"enum": ["1", 1], "type": ["string", "integer"]}), "'enum' of the parameter 'a'"),
        (only({"const": "a</parameter>"}), "'const' of the parameter 'a'"),
        (only({"type": "array", "items": {"$ref": "#/properties/a"}}), "other places than '\\$defs'"),
        ({"type": "object", "properties": {"a>b": {}}, "required": ["a>b"]}, "cannot stand in a tag"),
        ({"type": "object", "additionalProperties": {"type": "string"}, "minProperties": 1}, "'minProperties'"),
        ({"anyOf": [only({"type": "string"}), only({"type": "null"})]}, "'anyOf' of the function 'f'"),
    ],
)
def test_what_text_cannot_carry_is_refused(parameters: dict[str, Any], reason: str) -> None:
    for strict in (False, True):
        with pytest.raises(MeshError, match=reason) as refusal:
            answer(parameters, strict=strict)
        assert refusal.value.param == "tools"


def test_further_parameters_only_where_the_schema_takes_any() -> None:
    closed, free = only({"type": "string"}), {**only({"type": "string"}), "additionalProperties": True}
    assert not accepts(closed, argument("x") + argument("y", "b"))
    assert accepts(free, argument("x") + argument("y", "b") + argument("z", "c"))
    assert not accepts(free, argument("x") + argument("y"))
    assert accepts({"type": "object"}, argument("y", "b"))
    assert accepts({"type": "object", "additionalProperties": {"type": "string"}}, "")


def test_a_strict_function_leaves_other_text_free() -> None:
    lark = answer(only({"type": "integer"}), strict=True)

    def takes(text: str) -> bool:
        matcher = llguidance.LLMatcher(grammar.byte_tokenizer(), lark)
        data = list(text.encode())
        return bool(matcher.try_consume_tokens(data) == len(data) and matcher.is_accepting())

    call = "So\n<tool_call>\n<function=f>\n%s</function>\n</tool_call>"
    assert takes("Hello")
    assert takes(call % argument("5"))
    assert not takes(call % argument("five"))


def test_alike_values_share_a_rule() -> None:
    kinds = ("string", "integer", "array")

    def tool(number: int) -> Tool:
        return Tool(f"f{number}", "", {"properties": {f"property_{at}": {"type": kinds[at % 3]} for at in range(10)}})

    tools = tuple(tool(number) for number in range(64))
    for name in ("qwen3-coder", "glm", "pythonic"):
        lark = answer_grammar(None, Toolbox(tools, Mode.REQUIRED, required=tools), tool_format=FORMATS[name])
        assert lark.count("%json") <= len(kinds)
        assert len(lark) < 100_000


def test_the_values_of_an_enum_are_no_patterns() -> None:
    values = ["a/b (c)", "[d]*", "e\n\tf", "g\\n", '"h"', "é#&~^$", "i-j{2}|k"]
    schema = only({"enum": values})
    assert all(accepts(schema, argument(value)) for value in values)
    assert not any(accepts(schema, argument(value)) for value in ("ddd", "ijj", "k", "g\n", "a/b c"))


def test_arguments_as_in_python_are_separated_whichever_there_are() -> None:
    names = ("a", "b", "c", "d")
    for required in ((), ("a",), ("c",), ("b", "d"), names):
        parameters = {"properties": {name: {"type": "integer"} for name in names}, "required": list(required)}
        tool = Tool("f", "", parameters)
        toolbox = Toolbox((tool,), Mode.REQUIRED, required=(tool,), single=True)
        lark = answer_grammar(None, toolbox, tool_format=FORMATS["pythonic"])
        for size in range(len(names) + 1):
            for some in itertools.combinations(names, size):
                matcher = llguidance.LLMatcher(grammar.byte_tokenizer(), lark)
                data = list(f"[f({', '.join(f'{name}=1' for name in some)})]".encode())
                accepted = matcher.try_consume_tokens(data) == len(data) and matcher.is_accepting()
                assert accepted == set(required).issubset(some), (required, some)
