"""The parser says the same however the text is cut, and loses no character."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runner.kinds.text.prompt.output import ParsedText
from services.runner.kinds.text.prompt.parser import OutputParser
from tests.unit.runner.prompt.said import parse


def parser(
    *, calls: bool = True, forced: bool = False, reasoning: bool = False, reasoning_open: bool = False
) -> OutputParser:
    ids = itertools.count(1)
    return OutputParser(
        calls=calls,
        forced=forced,
        reasoning=reasoning,
        reasoning_open=reasoning_open,
        new_id=lambda: f"call_{next(ids)}",
    )


CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris }\\"", "n": [1, {}]}}\n</tool_call>'
ARGUMENTS = '{"city": "Paris }\\"", "n": [1, {}]}'


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_calls_between_text(size: int) -> None:
    text = f"Let me see.\n{CALL}\n{CALL}\n"
    said = parse([text[at : at + size] for at in range(0, len(text), size)], parser())
    assert said.content == "Let me see."
    assert said.calls == {0: ("call_1", "get_weather", ARGUMENTS), 1: ("call_2", "get_weather", ARGUMENTS)}


def test_half_a_tag_is_never_content() -> None:
    subject = parser()
    for character in "so: \n<tool_call":
        out = ParsedText()
        subject.feed(character, out)
        assert "<" not in "".join(out.content)
    assert subject.holding


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_reasoning_comes_apart_from_the_answer(size: int) -> None:
    text = "<think>\nI < 3 </thi hm\n</think>\n\nThe answer\n"
    said = parse([text[at : at + size] for at in range(0, len(text), size)], parser(reasoning=True))
    assert (said.reasoning, said.content) == ("I < 3 </thi hm", "The answer\n")


def test_reasoning_that_the_prompt_has_opened() -> None:
    said = parse(["so", "</think>", "\nyes"], parser(reasoning=True, reasoning_open=True))
    assert (said.reasoning, said.content) == ("so", "yes")


def test_without_tools_everything_is_content() -> None:
    assert parse([CALL, "<think>"], parser(calls=False)).content == CALL + "<think>"


def test_members_in_another_order() -> None:
    said = parse(['<tool_call>{"arguments": {"a": 1}, "name": "f"}</tool_call>'], parser())
    assert said.calls == {0: ("call_1", "f", '{"a": 1}')}


@pytest.mark.parametrize(
    "text",
    [
        "<tool_call>nonsense</tool_call>",
        '<tool_call>{"name": 7, "arguments": {}}</tool_call>',
        "<tool_call>[1]</tool_call> and more",
        "a <tool_call",
        '<tool_call>\n{"na',
        "1 < 2 <tool_",
    ],
)
def test_what_is_no_call_is_content(text: str) -> None:
    said = parse(list(text), parser())
    assert not said.calls
    assert said.content == text


def test_a_call_that_is_cut_off_keeps_what_it_has() -> None:
    said = parse(list(CALL[:60]), parser())
    assert said.calls[0][1] == "get_weather"
    assert ARGUMENTS.startswith(said.calls[0][2])


@pytest.mark.parametrize("length", range(1, len(CALL)))
def test_of_forced_calls_that_are_cut_off_nothing_is_content(length: int) -> None:
    said = parse([f"{CALL}\n{CALL}"[: len(CALL) + length]], parser(forced=True))
    assert said.content == ""
    assert said.calls[0] == ("call_1", "get_weather", ARGUMENTS)
    assert parse([CALL[:length]], parser(forced=True)).content == ""


def test_half_a_surrogate_pair_in_a_name_stays_valid_text() -> None:
    said = parse(['<tool_call>{"name": "f\\ud800", "arguments": {}}</tool_call>'], parser())
    assert said.calls[0][1].encode() == b"f?"


SNIPPETS = st.lists(
    st.sampled_from(["<tool_call>", "</tool_call>", "<think>", "</think>", CALL, "x", "<", " ", "\n", "{", "}", '"']),
    max_size=12,
).map("".join)


@given(SNIPPETS, st.lists(st.integers(1, 9), max_size=60), st.booleans())
def test_how_the_text_is_cut_makes_no_difference(text: str, sizes: list[int], reasoning: bool) -> None:
    pieces, at = [], 0
    for size in sizes:
        pieces.append(text[at : at + size])
        at += size
    cut = parse([*pieces, text[at:]], parser(reasoning=reasoning))
    whole = parse([text], parser(reasoning=reasoning))
    assert (cut.content.split(), cut.reasoning.split(), cut.calls) == (
        whole.content.split(),
        whole.reasoning.split(),
        whole.calls,
    )


@given(st.text(alphabet="<tol_caink>/ {}\n", max_size=60) | SNIPPETS)
def test_no_character_is_lost(text: str) -> None:
    said = parse(list(text), parser())
    if not said.calls:
        assert said.content == text


@given(SNIPPETS, st.booleans())
def test_of_a_thought_only_its_tags_are_taken(text: str, opened: bool) -> None:
    said = parse(list(text), parser(calls=False, reasoning=True, reasoning_open=opened))
    if said.content == text:
        return
    thought = text if opened else text.lstrip().removeprefix("<think>")
    thought, _, answer = thought.partition("</think>")
    assert (said.reasoning.strip(), said.content) == (thought.strip(), answer.lstrip())


@given(st.dictionaries(st.text(), st.recursive(st.text() | st.integers(), st.lists, max_leaves=5), max_size=4))
def test_arguments_pass_unchanged(arguments: dict[str, object]) -> None:
    written = json.dumps(arguments, ensure_ascii=False)
    text = f'<tool_call>{{"name": "f", "arguments": {written}}}</tool_call>'
    assert parse(list(text), parser()).calls == {0: ("call_1", "f", written)}
