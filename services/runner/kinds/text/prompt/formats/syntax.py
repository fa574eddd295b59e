"""Patterns of which it can be said whether a text is the beginning of what they match: the rest may still come."""

from __future__ import annotations

import re


class Syntax:
    """A pattern, put together from the smallest parts that a text can end after."""

    def __init__(self, *parts: str) -> None:
        """Each part is a regular expression, of which each beginning is one too; `spelled` gives those of a word."""
        self._whole = re.compile("".join(parts), re.DOTALL)
        self._beginning = re.compile("".join(f"(?:{part}" for part in parts) + ")?" * len(parts), re.DOTALL)

    def match(self, text: str, at: int = 0) -> re.Match[str] | None:
        """Returns the match that begins there."""
        return self._whole.match(text, at)

    def begins(self, text: str, at: int = 0) -> bool:
        """Whether all of the text from there on is the beginning of a match."""
        return self._beginning.fullmatch(text, at) is not None


def spelled(word: str) -> tuple[str, ...]:
    """Returns the parts of exactly this word."""
    return tuple(re.escape(character) for character in word)
