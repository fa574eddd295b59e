"""Whatever a client sends, Pico gets a text that it only reads."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.runner.engines.nanotts.markup import plain_text


def test_tags_are_no_tags_any_more() -> None:
    assert (
        plain_text('Say <genfile file="/tmp/x.wav">this</genfile>') == 'Say  genfile file="/tmp/x.wav" this /genfile '
    )
    # Signs that become < and > when they are normalised.
    assert "<" not in plain_text("\uff1cplay file='x'/\uff1e \ufe64play\ufe65")


def test_a_nul_does_not_end_the_text() -> None:
    assert plain_text("one\0two\x07three\ud800") == "one two three "


def test_long_numbers_are_divided() -> None:
    assert plain_text("1" * 40) == " ".join(["1" * 18, "1" * 18, "1" * 4])
    assert plain_text("1" * 18) == "1" * 18


@given(st.text(max_size=200))
def test_every_text_can_be_sent(text: str) -> None:
    plain = plain_text(text)
    plain.encode()
    assert not set(plain) & set("<>\0")
