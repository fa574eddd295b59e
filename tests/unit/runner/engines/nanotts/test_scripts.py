"""A text becomes one that Pico reads in full, or is refused by the scripts that it cannot read."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import Code, MeshError
from services.runner.engines.nanotts.markup import plain_text
from services.runner.engines.nanotts.scripts import latin_text


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("Straße, garçon, niño, æ, ø, þ", "Straße, garçon, niño, æ, ø, þ"),
        ("Łódź żółw Œuvre œ", "Lódz zólw Oeuvre oe"),
        ("Tiếng Việt", "Tieng Viet"),
        ("ışık İ", "isik I"),  # noqa: RUF001 - these are tried
        ("٣٤٥ १२", "345 12"),
        ("Ⅷ ＡＢＣ ²", "VIII ABC 2"),  # noqa: RUF001 - these are tried
        ("Hawai\u02bbi… “quoted” — 5 €, 😀", "Hawai\u02bbi... “quoted” — 5 €, 😀"),
    ],
)
def test_what_can_be_read_is_read(text: str, read: str) -> None:
    assert latin_text(plain_text(text)) == read


@pytest.mark.parametrize(
    ("text", "scripts"),
    [
        ("你好", "CJK"),
        ("Say привет, κόσμε!", "Cyrillic, Greek"),
        ("こんにちは カ", "Hiragana, Katakana"),
        ("안녕", "Hangul"),
        ("مرحبا", "Arabic"),
        ("שלום", "Hebrew"),
        ("ʁ", "rare Latin"),
    ],
)
def test_a_refusal_names_the_scripts_and_never_the_text(text: str, scripts: str) -> None:
    with pytest.raises(MeshError) as refusal:
        latin_text(plain_text(text))
    assert (refusal.value.code, refusal.value.param) == (Code.INVALID_REQUEST, "input")
    assert f"({scripts})" in refusal.value.message
    assert not set(text) - set(" ,!ySa") & set(refusal.value.message)


@given(st.text(max_size=100))
def test_no_letter_is_left_that_has_no_sound(text: str) -> None:
    plain = plain_text(text)
    try:
        read = latin_text(plain)
    except MeshError:
        return
    letters = [c for c in read if unicodedata.category(c)[0] in "LN" and unicodedata.category(c) != "Lm"]
    assert all(c <= "\u00ff" for c in letters)
    assert len(letters) >= sum(unicodedata.category(c)[0] in "LN" and unicodedata.category(c) != "Lm" for c in plain)
