"""Texts are divided where a voice pauses, and nothing of them is lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.runner.audio.pieces import divide


def test_a_short_text_is_one_piece() -> None:
    assert list(divide("  Hello there. How are you?\n")) == ["Hello there. How are you?"]
    assert list(divide(" \n ")) == []


def test_sentences_come_before_clauses_and_clauses_before_words() -> None:
    assert list(divide("One two. Three four, five six seven", 26)) == ["One two.", "Three four, five six seven"]
    assert list(divide("One two. Three four, five six seven", 24)) == ["One two.", "Three four,", "five six seven"]
    assert list(divide("Three four five", 11)) == ["Three four", "five"]


def test_what_has_no_break_is_cut() -> None:
    assert list(divide("abcdefgh", 3)) == ["abc", "def", "gh"]


def test_numbers_and_initials_are_not_torn_apart() -> None:
    assert list(divide("It costs 1,000.50 or so in all.", 18)) == ["It costs 1,000.50", "or so in all."]


@given(st.text(max_size=400), st.integers(min_value=1, max_value=60))
def test_nothing_is_lost_and_no_piece_is_too_long(text: str, longest: int) -> None:
    pieces = list(divide(text, longest))
    assert "".join("".join(pieces).split()) == "".join(text.split())
    assert all(0 < len(piece) <= longest for piece in pieces)
