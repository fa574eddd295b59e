"""The text for a custom tool comes out of the arguments, in whatever pieces these come."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.edge.chat.custom_tools import InputReader, arguments_of, description_of, input_of
from services.edge.chat.request import CustomFormat, CustomTool, Grammar

TEXTS = st.text(st.sampled_from('ab"\\/\n\t\x00é€😀u{}') | st.characters(exclude_categories=["Cs"]), max_size=12)


def read(*pieces: str) -> str:
    reader = InputReader()
    return "".join(map(reader.take, pieces)) + reader.finish()


@given(TEXTS, st.booleans(), st.integers(1, 5))
def test_every_text_is_read_in_any_pieces(text: str, ascii_only: bool, size: int) -> None:
    arguments = json.dumps({"input": text}, ensure_ascii=ascii_only)
    assert input_of(arguments) == input_of(arguments_of(text)) == text
    assert read(*(arguments[at : at + size] for at in range(0, len(arguments), size))) == text


def test_the_text_is_passed_on_as_soon_as_it_is_decided() -> None:
    reader = InputReader()
    pieces = [reader.take(piece) for piece in ('{"in', 'put": "a', "b\\", "nc\\ud8", '3d\\ude00d"', "}", " x")]
    assert pieces == ["", "a", "b", "\nc", "😀d", "", ""]
    assert reader.finish() == ""


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ('{"input": "cut off', "cut off"),
        ('{"input": "cut off\\', "cut off"),
        ('{"input": "cut off\\ud83d', "cut off"),
        ('{"input": "half \\ud83d of"}', "half ? of"),
        ('{"input": "an \\escape"}', "an \\escape"),
        ('{"input": "a", "more": 1}', "a"),
        ('{"more": 1, "input": "a"}', "a"),
        ('{"patch": "a"}', "a"),
        ('"a"', "a"),
        ('{"patch": 5}', '{"patch": 5}'),
        ('{"a": "b", "c": "d"}', '{"a": "b", "c": "d"}'),
        ("*** Begin Patch", "*** Begin Patch"),
        ("{}", "{}"),
        ("", ""),
    ],
)
def test_what_a_model_writes_instead(arguments: str, text: str) -> None:
    assert input_of(arguments) == read(*arguments) == text


def test_a_model_is_told_what_the_input_follows() -> None:
    said = description_of(CustomTool("f", "Counts.", CustomFormat("grammar", Grammar("[0-9]+", "regex"))))
    assert said.startswith("Counts.\n\nIts input is text.")
    assert said.endswith("The text follows this regular expression:\n[0-9]+")
    assert description_of(CustomTool("f")).startswith("Its input")
