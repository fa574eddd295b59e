"""Stop strings are found exactly, whatever tokens they are made of."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from services.runner.engines.stops import StopScanner

PIECES = st.lists(st.text(alphabet="ab ", min_size=1, max_size=3), max_size=20)
STOPS = st.lists(st.text(alphabet="ab ", min_size=1, max_size=4), min_size=1, max_size=4)


def scan(pieces: Sequence[str], stops: Sequence[str]) -> tuple[str, list[int], bool]:
    scanner: StopScanner[int] = StopScanner(stops)
    text, tokens = "", []
    for token, piece in enumerate(pieces):
        added, ids, stopped = scanner.push(token, piece)
        text += added
        tokens += ids
        if not stopped:
            assert text == "".join(pieces[at] for at in tokens)
        else:
            return text, tokens, True
    added, ids = scanner.flush()
    return text + added, tokens + ids, False


@given(PIECES, STOPS)
def test_the_text_ends_before_the_first_stop_string(pieces: list[str], stops: list[str]) -> None:
    text, tokens, stopped = scan(pieces, stops)
    whole = "".join(pieces)
    # A stop string ends the answer as soon as its last token has come, so later text does not count.
    seen = ""
    for piece in pieces:
        seen += piece
        found = [at for stop in stops if (at := seen.find(stop)) >= 0]
        if found:
            assert (text, stopped) == (seen[: min(found)], True)
            break
    else:
        assert (text, tokens, stopped) == (whole, list(range(len(pieces))), False)


@given(PIECES, STOPS)
def test_tokens_are_those_wholly_within_the_text(pieces: list[str], stops: list[str]) -> None:
    text, tokens, stopped = scan(pieces, stops)
    assert tokens == list(range(len(tokens)))
    inside = "".join(pieces[at] for at in tokens)
    assert text.startswith(inside)
    if stopped:
        assert len(text) < len(inside + pieces[len(tokens)])


def test_text_that_cannot_begin_a_stop_string_is_sent_at_once() -> None:
    scanner: StopScanner[int] = StopScanner(["###"])
    assert scanner.push(1, "hello") == ("hello", [1], False)
    assert scanner.push(2, " #") == ("", [], False)
    assert scanner.push(3, "x") == (" #x", [2, 3], False)
