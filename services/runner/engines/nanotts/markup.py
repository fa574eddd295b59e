"""Makes a text harmless for Pico."""

from __future__ import annotations

import re
import unicodedata

# Pico obeys tags within the text, and some of them read and write files: <play file="…"/>, <genfile file="…">.
_TAGS = re.compile(r"[<>]")
# It gives up on longer runs of digits.
_MOST_DIGITS = 18
_DIGITS = re.compile(rf"\d{{{_MOST_DIGITS}}}(?=\d)")


def plain_text(text: str) -> str:
    """Returns what is to be spoken: without tags, control characters (a NUL ends the text for Pico) and surrogates."""
    text = _TAGS.sub(" ", unicodedata.normalize("NFKC", _TAGS.sub(" ", text)))
    text = "".join(" " if unicodedata.category(character) in {"Cc", "Cs"} else character for character in text)
    return _DIGITS.sub(lambda match: match[0] + " ", text)
