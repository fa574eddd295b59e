"""Calls of each family of models come out as the model has meant them, and forced ones follow their schemas."""

from __future__ import annotations

import itertools
import json
import random
import re
from typing import Any

import jsonschema
import llguidance
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runner.kinds.text.prompt import grammar
from services.runner.kinds.text.prompt.formats import FORMATS
from services.runner.kinds.text.prompt.grammar import answer_grammar
from services.runner.kinds.text.prompt.parser import OutputParser
from services.runner.kinds.text.prompt.template import ChatTemplate
from services.runner.kinds.text.prompt.thought import thought_tags
from services.runner.kinds.text.prompt.tools import Mode, Tool, Toolbox
from tests.unit.runner.kinds.text.prompt.formats.families import FAMILIES, FUNCTIONS, WEATHER, Calls, Family
from tests.unit.runner.prompt.said import Said, cut, parse

SIZES = [1, 2, 3, 7, 1000]
BY_FORMAT = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.format)
TOOLS = tuple(Tool(name, "", schema) for name, schema in FUNCTIONS.items())


def parser(family: Family, *, reasoning: bool = False, forced: bool = False) -> OutputParser:
    ids = itertools.count(1)
    return OutputParser(
        calls=True,
        forced=forced,
        reasoning=reasoning,
        new_id=lambda: f"call_{next(ids)}",
        tool_format=FORMATS[family.format],
        thought_tags=thought_tags(family.template),
        functions=FUNCTIONS,
    )


def shown(family: Family, text: str) -> str:
    """Returns what an engine shows of an answer."""
    for token in family.hidden:
        text = text.replace(token, "")
    return text


def calls_of(said: Said) -> Calls:
    assert [call[0] for call in said.calls.values()] == [f"call_{at + 1}" for at in range(len(said.calls))]
    return [(name, json.loads(arguments)) for _, name, arguments in said.calls.values()]


@pytest.mark.parametrize("size", SIZES)
@BY_FORMAT
def test_answers_of_the_models(family: Family, size: int) -> None:
    for text, content, calls in family.answers:
        said = parse(cut(shown(family, text), size), parser(family), cut=False)
        assert (said.content, calls_of(said)) == (content, calls), text


@pytest.mark.parametrize("size", SIZES)
@BY_FORMAT
def test_what_only_looks_like_a_call_is_content(family: Family, size: int) -> None:
    for text in family.prose:
        for limited in (False, True):
            said = parse(cut(text, size), parser(family), cut=limited)
            assert (said.content, said.calls) == (text, {}), text


@pytest.mark.parametrize("size", SIZES)
@BY_FORMAT
def test_a_thought_comes_apart(family: Family, size: int) -> None:
    text, thought, content, calls = family.thought
    said = parse(cut(shown(family, text), size), parser(family, reasoning=True), cut=False)
    assert (said.reasoning, said.content, calls_of(said)) == (thought, content, calls)


@BY_FORMAT
def test_a_template_tells_its_format(family: Family) -> None:
    assert ChatTemplate(family.template).tool_format.name == family.format


PLAIN = st.text("ab <>/{}[]\"'\\\n,:=()|é😀", max_size=12)
ARGUMENTS = st.fixed_dictionaries(
    {"city": PLAIN},
    optional={
        "days": st.integers(-(10**12), 10**12),
        "wind": st.booleans(),
        "hours": st.lists(st.integers(-9, 9) | st.floats(-9, 9), max_size=3),
        "units": st.just(None) | PLAIN.map(lambda text: f"u{text}"),
        "place": st.fixed_dictionaries({}, optional={"lat": st.floats(-90, 90), "name": PLAIN}),
    },
)
CALLS = st.lists(st.tuples(st.just("get_weather"), ARGUMENTS) | st.just(("get_time", {})), min_size=1, max_size=3)


def conversation(calls: Calls) -> list[dict[str, Any]]:
    """Returns a question and the answer to it, with calls and their results."""
    ids = [f"call_{number}" for number in range(len(calls))]
    functions = [{"name": name, "arguments": arguments} for name, arguments in calls]
    written = [{"id": id_, "type": "function", "function": one} for id_, one in zip(ids, functions, strict=True)]
    results = [{"role": "tool", "tool_call_id": id_, "content": f"RESULT {id_}"} for id_ in ids]
    return [
        {"role": "user", "content": "How is it?"},
        {"role": "assistant", "content": "", "tool_calls": written},
        *results,
    ]


def written(family: Family, template: ChatTemplate, calls: Calls) -> str:
    """Returns the answer with these calls as the template writes it."""
    messages = conversation(calls)
    before = template.render(messages[:1], [tool.document() for tool in TOOLS])
    whole = template.render(messages, [tool.document() for tool in TOOLS])
    assert all(result["content"] in whole for result in messages[2:])
    # Some templates open an answer of the past in another way than one that is to come.
    common = next((at for at, pair in enumerate(zip(before, whole, strict=False)) if pair[0] != pair[1]), len(before))
    return whole[common:].partition(family.end)[0].removeprefix(family.opening)


@BY_FORMAT
def test_what_the_template_writes_is_read_as_it_was(family: Family) -> None:
    template = ChatTemplate(family.template)

    @given(CALLS if family.parallel else CALLS.map(lambda calls: calls[:1]), st.sampled_from(SIZES))
    def check(calls: Calls, size: int) -> None:
        text = written(family, template, calls)
        said = parse(cut(shown(family, text), size), parser(family), cut=False)
        assert calls_of(said) == calls, text
        assert not said.content.strip()

    check()


@BY_FORMAT
def test_how_an_answer_is_cut_makes_no_difference(family: Family) -> None:
    texts = st.lists(st.sampled_from([*family.pieces, " ", "x", "\n"]), max_size=16).map("".join)
    texts |= st.lists(st.sampled_from([text for text, _, _ in family.answers]), max_size=3).map("".join)

    @given(texts, st.lists(st.integers(1, 9), max_size=60), st.booleans(), st.booleans())
    def check(text: str, sizes: list[int], limited: bool, reasoning: bool) -> None:
        steps, rest = [], text
        for size in sizes:
            steps.append(rest[:size])
            rest = rest[size:]
        one = parse([*steps, rest], parser(family, reasoning=reasoning), cut=limited)
        other = parse([text], parser(family, reasoning=reasoning), cut=limited)
        assert (one.content, one.reasoning, one.calls) == (other.content, other.reasoning, other.calls)

    check()


@BY_FORMAT
def test_words_are_never_lost(family: Family) -> None:
    words = st.integers(0, 99).map(lambda number: f" w{number} ")

    @given(st.lists(st.sampled_from(family.pieces) | words, max_size=16), st.booleans())
    def check(pieces: list[str], limited: bool) -> None:
        said = parse(["".join(pieces)], parser(family), cut=limited)
        found = said.content + said.reasoning + "".join(f" {call[1]} {call[2]} " for call in said.calls.values())
        for word in {piece for piece in pieces if piece.startswith(" w")}:
            assert found.count(word.strip()) >= pieces.count(word), "".join(pieces)

    check()


def forced(tools: tuple[Tool, ...], family: Family, *, single: bool = False) -> llguidance.LLMatcher:
    toolbox = Toolbox(tools, Mode.REQUIRED, required=tools, single=single)
    return llguidance.LLMatcher(
        grammar.byte_tokenizer(), answer_grammar(None, toolbox, tool_format=FORMATS[family.format])
    )


def tokens(text: str) -> list[int]:
    """Returns the tokens of a text for the vocabulary that grammars are checked with."""
    vocabulary = grammar._Bytes
    found: list[int] = []
    for part in re.split("|".join(f"({re.escape(token)})" for token in vocabulary.controls), text):
        if part in vocabulary.controls:
            found.append(257 + vocabulary.controls.index(part))
        else:
            found += (part or "").encode()
    return found


def invented(matcher: llguidance.LLMatcher, words: list[str], chance: random.Random) -> str | None:
    """Returns a text that a grammar admits, put together from words, or None if it does not end in time."""
    text = ""
    for _ in range(250):
        if matcher.is_accepting() and chance.random() < 0.5:
            return text
        every = [*chance.sample(words, len(words)), *(chr(code) for code in range(9, 127))]
        fitting = (word for word in every if matcher.deep_copy().try_consume_tokens(tokens(word)) == len(tokens(word)))
        chosen = next(fitting, None)
        if chosen is None:
            return text if matcher.is_accepting() else None
        assert matcher.consume_tokens(tokens(chosen))
        text += chosen
    return None


@BY_FORMAT
def test_forced_calls_follow_their_schemas_whatever_the_model_would_like_to_write(family: Family) -> None:
    words = [
        *family.pieces,
        *FUNCTIONS,
        *WEATHER["properties"],
        '"',
        "1",
        "2.5",
        "true",
        "null",
        "Rome",
        "]",
        "}",
        ", ",
    ]
    found = 0
    for seed in range(12):
        chance = random.Random(seed)
        text = invented(forced(TOOLS, family), words, chance)
        if text is None:
            continue
        said = parse(cut(shown(family, text), 5), parser(family, forced=True), cut=False)
        assert not said.content.strip(), text
        assert said.calls, text
        for name, arguments in calls_of(said):
            jsonschema.validate(arguments, FUNCTIONS[name])
        found += 1
    assert found >= 4


@BY_FORMAT
def test_forced_calls_as_models_write_them(family: Family) -> None:
    template = ChatTemplate(family.template)
    calls: Calls = [
        ("get_weather", {"city": "San José", "days": 3, "hours": [1, 2.5], "place": {"lat": 1.5, "name": "a"}}),
        ("get_time", {}),
    ]
    texts = [written(family, template, some).strip() for some in (calls[:1], calls[1:], calls)]
    for text in family.forced or texts:
        matcher = forced(TOOLS, family)
        assert matcher.try_consume_tokens(tokens(text)) == len(tokens(text)), text
        assert matcher.is_accepting()
        assert calls_of(parse([shown(family, text)], parser(family))) in (calls[:1], calls[1:], calls)
    one = (family.forced or texts)[0]
    for wrong in (one.replace("3", '"three"', 1), one.replace("city", "town"), "Hello", one.replace("weather", "news")):
        matcher = forced(TOOLS, family)
        data = tokens(wrong)
        assert not (matcher.try_consume_tokens(data) == len(data) and matcher.is_accepting()), wrong
    single = forced((TOOLS[1],), family, single=True)
    assert single.try_consume_tokens(tokens(one)) < len(tokens(one))
