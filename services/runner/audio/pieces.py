"""Divides a text into the pieces that are spoken one after the other."""

from __future__ import annotations

import re
from collections.abc import Iterator

# Characters of a piece at most: about eight seconds of speech, made in less than a tenth of a second.
LONGEST = 120
# Where a voice pauses, from the best place to divide to the worst; each ends before the next piece.
_BREAKS = (
    re.compile("[.!?\u2026]+[\"'\u201d\u2019)\\]]*\\s+|\n+"),
    re.compile("[,;:\u2013\u2014]+\\s+"),
    re.compile(r"\s+"),
)


def divide(text: str, longest: int = LONGEST) -> Iterator[str]:
    """Yields pieces of at most `longest` characters that make up the text, with white space around them removed.

    A piece ends at the last end of a sentence that fits, else at a clause, else at a word, else anywhere.
    """
    rest = text.strip()
    while len(rest) > longest:
        end = _last_break(rest, longest)
        yield rest[:end].strip()
        rest = rest[end:].lstrip()
    if rest:
        yield rest


def _last_break(text: str, longest: int) -> int:
    # White space at the end of a piece is cut off, so it may reach beyond the bound.
    window = text[: longest + 1]
    for pattern in _BREAKS:
        ends = [match.end() for match in pattern.finditer(window) if len(window[: match.end()].rstrip()) <= longest]
        if ends:
            return ends[-1]
    return longest
