"""Grammars accept exactly the answers that were asked for."""

from __future__ import annotations

from typing import Any

import llguidance
import pytest

from services.common.errors import Code, MeshError
from services.common.lark.json_form import json_form
from services.runner.kinds.text.prompt import grammar
from services.runner.kinds.text.prompt.formats import FORMATS
from services.runner.kinds.text.prompt.formats.rules import MOST_CALLS
from services.runner.kinds.text.prompt.grammar import LARGEST_GRAMMAR, answer_grammar, any_object
from services.runner.kinds.text.prompt.thought import Thought
from services.runner.kinds.text.prompt.tools import Mode, Tool, Toolbox

CITY: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"$ref": "#/$defs/name"}},
    "required": ["city"],
    "additionalProperties": False,
    "$defs": {"name": {"type": "string", "maxLength": 10}},
}
WEATHER, TIME = Tool("get_weather", "", CITY), Tool("get_time")
NO_TOOLS = Toolbox()


def accepts(lark: str, text: str) -> bool:
    tokenizer = grammar.byte_tokenizer()
    matcher = llguidance.LLMatcher(tokenizer, lark)
    data = list(text.encode())
    return bool(matcher.try_consume_tokens(data) == len(data) and matcher.is_accepting())


def call(name: str, arguments: str) -> str:
    return f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


PARIS = call("get_weather", '{"city": "Paris"}')


def test_free_text_needs_no_grammar() -> None:
    assert answer_grammar(None, NO_TOOLS) == ""
    assert answer_grammar(None, Toolbox((WEATHER,))) == ""
    assert answer_grammar(None, Toolbox((WEATHER,), Mode.NONE)) == ""


def test_a_schema() -> None:
    lark = answer_grammar(CITY, NO_TOOLS)
    assert accepts(lark, '{"city": "Paris"}')
    assert not accepts(lark, '{"city": 7}')
    assert not accepts(lark, '{"city": "a name that is too long"}')
    assert not accepts(lark, 'Sure! {"city": "Paris"}')


def test_any_object() -> None:
    lark = answer_grammar(any_object(), NO_TOOLS)
    assert accepts(lark, '{"a": [1, null]}')
    assert not accepts(lark, "[1]")


def test_a_named_function_is_called_once() -> None:
    lark = answer_grammar(None, Toolbox((WEATHER, TIME), Mode.REQUIRED, required=(WEATHER,), single=True))
    assert accepts(lark, PARIS)
    assert not accepts(lark, PARIS + "\n" + PARIS)
    assert not accepts(lark, call("get_time", "{}"))
    assert not accepts(lark, call("get_weather", "{}"))


def test_required_calls_may_be_parallel_but_end() -> None:
    lark = answer_grammar(None, Toolbox((WEATHER, TIME), Mode.REQUIRED, required=(WEATHER, TIME)))
    assert accepts(lark, PARIS + "\n" + call("get_time", '{"zone": 1}'))
    assert accepts(lark, "\n".join([PARIS] * MOST_CALLS))
    assert not accepts(lark, "\n".join([PARIS] * (MOST_CALLS + 1)))
    assert not accepts(lark, "")


def test_an_automatic_choice_with_a_schema_is_a_call_or_an_answer() -> None:
    lark = answer_grammar(any_object(), Toolbox((WEATHER,)))
    assert accepts(lark, '{"a": 1}')
    assert accepts(lark, PARIS)


def test_a_model_that_thinks_does_so_first() -> None:
    lark = answer_grammar(any_object(), NO_TOOLS, thought=Thought())
    assert accepts(lark, '<think>so <b> it is</think>\n\n{"a": 1}')
    assert accepts(lark, '{"a": 1}')
    opened = answer_grammar(any_object(), NO_TOOLS, thought=Thought(opened=True))
    assert accepts(opened, 'so it is</think>\n\n{"a": 1}')


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"required": 5}, "Expected array for 'required'"),
        ({"$ref": "#/$defs/nowhere"}, "does not exist"),
        ({"type": "string", "pattern": "("}, "regex parse error"),
    ],
)
def test_a_schema_that_cannot_be_compiled_is_refused(schema: dict[str, Any], reason: str) -> None:
    with pytest.raises(MeshError, match="cannot be enforced") as refusal:
        answer_grammar(schema, NO_TOOLS)
    assert refusal.value.code is Code.INVALID_REQUEST
    assert refusal.value.param == "response_format"
    assert reason in refusal.value.message
    assert refusal.value.message.endswith(".")
    assert "\n" not in refusal.value.message


@pytest.mark.parametrize("schema", [{"type": "foo"}, {"not": {"type": "string"}}, {"enum": ["x" * LARGEST_GRAMMAR]}])
def test_a_schema_that_no_edge_lets_through_is_not_compiled(schema: dict[str, Any]) -> None:
    with pytest.raises(MeshError, match="an edge has checked") as refusal:
        answer_grammar(schema, NO_TOOLS)
    assert refusal.value.param == "response_format"


def test_a_function_that_cannot_be_enforced_is_refused_only_if_it_is_forced() -> None:
    bad = Tool("bad", "", {"type": "foo"})
    assert answer_grammar(None, Toolbox((bad,))) == ""
    with pytest.raises(MeshError) as refusal:
        answer_grammar(None, Toolbox((bad,), Mode.REQUIRED, required=(bad,)))
    assert refusal.value.param == "tools"


def test_a_huge_grammar_is_refused_before_it_is_compiled() -> None:
    tools = tuple(Tool(f"f{at}", "", {"const": {"a": "x" * 60_000}}) for at in range(3))
    with pytest.raises(MeshError, match=r"the grammar has \d+ characters"):
        answer_grammar(None, Toolbox(tools, Mode.REQUIRED, required=tools))


def test_own_settings_of_the_compiler_do_not_pass() -> None:
    lark = answer_grammar({"type": "object", "x-guidance": {"whitespace_flexible": True}}, NO_TOOLS)
    assert not accepts(lark, '{   "a":    1}')


def test_a_bounded_thought_is_one_paragraph_before_any_answer() -> None:
    lark = answer_grammar(None, NO_TOOLS, thought=Thought(opened=True, longest=10))
    assert accepts(lark, "so it is\n</think>\n\nIt is\nso.")
    assert not accepts(lark, "so it is indeed\n</think>\n\nIt is so.")
    assert not accepts(lark, "so it is\n</think>\n\n")
    assert answer_grammar(None, NO_TOOLS, thought=Thought(opened=True)) == ""


STRICT = Tool("get_weather", "", CITY, strict=True)
WRONG = call("get_weather", '{"city": 7}')


def test_a_strict_function_binds_calls_and_nothing_else() -> None:
    lark = answer_grammar(None, Toolbox((STRICT, TIME)))
    for free in ("", "Paris it is.\n\n", "a < b, <tool> and <tool_cal", '{"city": 7}'):
        assert accepts(lark, free)
    assert accepts(lark, PARIS)
    assert accepts(lark, f"Let me see.\n{PARIS}\n{PARIS}\nThere.")
    assert not accepts(lark, WRONG)
    assert not accepts(lark, f"Let me see.\n{WRONG}")
    # A function that is not strict may be called with anything, and one that is not on offer not at all.
    assert accepts(lark, call("get_time", '{"any": ["thing"]}'))
    assert not accepts(lark, call("get_lost", "{}"))


def test_without_a_strict_function_the_model_is_free() -> None:
    assert answer_grammar(None, Toolbox((WEATHER, TIME))) == ""


def test_one_call_at_most_holds_when_the_model_decides() -> None:
    lark = answer_grammar(None, Toolbox((WEATHER,), single=True))
    assert accepts(lark, f"So: {PARIS} Done.")
    assert not accepts(lark, f"{PARIS}\n{PARIS}")


def test_a_strict_function_that_cannot_be_enforced_is_refused() -> None:
    with pytest.raises(MeshError, match="an edge has checked") as refusal:
        answer_grammar(None, Toolbox((Tool("bad", "", {"not": {}}, strict=True),)))
    assert refusal.value.param == "tools"


LLAMA = '{"name": "get_weather", "parameters": {"city": "Paris"}}'
LLAMA_TIME = '{"name": "get_time", "parameters": {}}'
FORMAT_CALLS = [
    ("llama", LLAMA, f"{LLAMA}; {LLAMA_TIME}"),
    (
        "mistral",
        '[TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Paris"}}]',
        '[TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Paris"}}, {"name": "get_time", "arguments": {}}]',
    ),
    (
        "mistral-args",
        '[TOOL_CALLS]get_weather[ARGS]{"city": "Paris"}',
        '[TOOL_CALLS]get_weather[ARGS]{"city": "Paris"}[TOOL_CALLS]get_time[ARGS]{}',
    ),
]


@pytest.mark.parametrize("name", ["hermes", "llama", "mistral", "mistral-args"])
@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"properties": CITY["properties"], "$defs": CITY["$defs"]},
        {"type": ["object", "null"]},
        {"anyOf": [CITY, {"type": "string"}], "$defs": CITY["$defs"]},
        {"$ref": "#/$defs/it", "$defs": {"it": {"enum": [{"city": "Paris"}, "Paris", None, 5, [1], True]}}},
    ],
)
@pytest.mark.parametrize("strict", [False, True])
def test_arguments_are_objects_whatever_the_schema_admits(name: str, parameters: dict[str, Any], strict: bool) -> None:
    tool = Tool("get_weather", "", parameters, strict=strict)
    forced = Toolbox((tool,), Mode.REQUIRED, required=(tool,), single=True)
    lark = answer_grammar(None, forced, tool_format=FORMATS[name])
    written = FORMAT_CALL[name]
    assert accepts(lark, written % '{"city": "Paris"}')
    for other in ("null", "5", '"Paris"', "[1]", "true", "[]"):
        assert not accepts(lark, written % other), other
        if strict and name in ("hermes", "llama"):
            assert not accepts(answer_grammar(None, Toolbox((tool,)), tool_format=FORMATS[name]), written % other)


FORMAT_CALL = {
    "hermes": call("get_weather", "%s"),
    "llama": '{"name": "get_weather", "parameters": %s}',
    "mistral": '[TOOL_CALLS][{"name": "get_weather", "arguments": %s}]',
    "mistral-args": "[TOOL_CALLS]get_weather[ARGS]%s",
}


@pytest.mark.parametrize(("name", "one", "two"), FORMAT_CALLS)
def test_forced_calls_in_every_format(name: str, one: str, two: str) -> None:
    tools = (WEATHER, TIME)
    many = answer_grammar(None, Toolbox(tools, Mode.REQUIRED, required=tools), tool_format=FORMATS[name])
    named = Toolbox(tools, Mode.REQUIRED, required=(WEATHER,), single=True)
    single = answer_grammar(None, named, tool_format=FORMATS[name])
    assert accepts(many, one)
    assert accepts(many, two)
    assert accepts(single, one)
    for lark in (many, single):
        assert not accepts(lark, one.replace('"Paris"', "7"))
        assert not accepts(lark, "Hello")
    assert not accepts(single, two)


def test_a_strict_function_of_llama_leaves_other_json_free() -> None:
    lark = answer_grammar(None, Toolbox((STRICT, TIME)), tool_format=FORMATS["llama"])
    for free in ("", "Hello", '{"name": "Zoe", "age": 7}', '{"name": "get_weather"}', f"So {LLAMA}"):
        assert accepts(lark, free)
    assert accepts(lark, LLAMA)
    assert accepts(lark, f"{LLAMA}; {LLAMA_TIME}")
    assert not accepts(lark, LLAMA.replace('"Paris"', "7"))


def test_an_engine_is_never_given_what_it_would_drop() -> None:
    # Each alternative is considered at each step, which is fine to compile and too much to follow.
    alternatives = [{"type": "object", "properties": {f"p{at}_{other}": {} for other in range(2)}} for at in range(120)]
    with pytest.raises(MeshError, match="an edge has checked"):
        answer_grammar({"anyOf": [*alternatives, *alternatives]}, NO_TOOLS)


@pytest.mark.parametrize(
    ("schema", "right", "wrong"),
    [
        # Open objects are closed, so that models do not invent members.
        ({"type": "object", "properties": {"a": {"type": "integer"}}}, '{"a": 1}', '{"a": 1, "b": 2}'),
        ({"type": "array", "uniqueItems": False}, "[1, 1]", "{}"),
        ({"type": "string", "uniqueItems": True, "not": False}, '"a"', "1"),
        ({"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}, "-1234567890123456789", "1" * 25),
        ({"type": "number", "minimum": -1e308, "maximum": 1e308}, "-1.5", '"a"'),
        ({"type": "object", "properties": {"a": {}, "b": {}}, "required": ["a"], "minProperties": 1}, '{"a": 1}', "{}"),
        ({"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 1}, '{"x": 1}', "{}"),
        ({"type": "object", "properties": {"a": {}, "b": {}}, "maxProperties": 1}, '{"b": 1}', '{"a": 1, "b": 1}'),
    ],
)
def test_a_grammar_is_made_of_the_enforced_form(schema: dict[str, Any], right: str, wrong: str) -> None:
    lark = answer_grammar(schema, NO_TOOLS)
    assert accepts(lark, right)
    assert not accepts(lark, wrong)


def test_what_a_pattern_does_wrong_is_said() -> None:
    with pytest.raises(MeshError, match="regex parse error: unclosed group"):
        answer_grammar({"type": "string", "pattern": "("}, NO_TOOLS)


PATCHES = Tool(
    "patch",
    "",
    {"type": "object", "properties": {"input": {"type": "string"}}},
    arguments_grammar=json_form('start: ("+" /.+/ LF)+\n%import common.LF'),
)
PATCH, NO_PATCH = '{"input": "+a \\"b\\"\\n+c\\n"}', '{"input": "a\\n"}'


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_the_grammar_of_a_custom_tool_holds_or_is_refused(name: str) -> None:
    written = {
        "hermes": call("patch", "%s"),
        "llama": '{"name": "patch", "parameters": %s}',
        "llama4": '{"name": "patch", "parameters": %s}',
        "mistral": '[TOOL_CALLS][{"name": "patch", "arguments": %s}]',
        "mistral-args": "[TOOL_CALLS]patch[ARGS]%s",
        "harmony": "<|channel|>commentary to=functions.patch <|constrain|>json<|message|>%s",
    }
    forced = Toolbox((PATCHES, TIME), Mode.REQUIRED, required=(PATCHES,), single=True)
    free = Toolbox((PATCHES, TIME))
    if name in {"qwen3-coder", "glm", "pythonic"}:
        for toolbox in (forced, free):
            with pytest.raises(MeshError, match="'tools' cannot be enforced with this model: its format of calls"):
                answer_grammar(None, toolbox, tool_format=FORMATS[name])
        return
    lark = answer_grammar(None, forced, tool_format=FORMATS[name])
    if name in written:
        # The names of control tokens are tokens of their own.
        assert accepts(lark, written[name] % PATCH) or name == "harmony"
        assert not accepts(lark, written[name] % NO_PATCH)
    if name in {"hermes", "llama", "llama4", "harmony"}:
        auto = answer_grammar(None, free, tool_format=FORMATS[name])
        if name == "hermes":
            assert accepts(auto, "I see.\n" + written[name] % PATCH)
            assert accepts(auto, call("get_time", '{"zone": 1}'))
            assert accepts(auto, "No.")
            assert not accepts(auto, written[name] % NO_PATCH)
    else:
        with pytest.raises(MeshError, match="only where a call is forced"):
            answer_grammar(None, free, tool_format=FORMATS[name])
