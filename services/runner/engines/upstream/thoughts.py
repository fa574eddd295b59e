"""Finds the thoughts that a server has left in the text of an answer."""

from __future__ import annotations

from enum import Enum, auto

from services.runner.kinds.text.prompt.thought import THINK_CLOSE, THINK_OPEN


class _Place(Enum):
    BEGINNING = auto()
    OPENED = auto()
    THOUGHT = auto()
    GAP = auto()
    ANSWER = auto()


class Thoughts:
    """Tells the thoughts of one answer from the answer, while its text comes in parts.

    A server without a parser for its model's thoughts passes them on between tags, at the beginning of the text.
    """

    def __init__(self) -> None:
        self._place = _Place.BEGINNING
        # Text that may be a part of a tag.
        self._held = ""

    def none(self) -> str:
        """Notes that no tags follow, because the server tells thoughts itself; returns the text held back."""
        self._place = _Place.ANSWER
        held, self._held = self._held, ""
        return held

    def split(self, text: str) -> tuple[str, str]:
        """Returns what the next part of the text brings: thoughts, and answer."""
        if self._place is _Place.ANSWER:
            return "", text
        reasoning = ""
        text, self._held = self._held + text, ""
        if self._place is _Place.BEGINNING:
            begun = text.lstrip()
            if THINK_OPEN.startswith(begun):
                self._held = text
                return "", ""
            if not begun.startswith(THINK_OPEN):
                self._place = _Place.ANSWER
                return "", text
            self._place = _Place.OPENED
            text = begun.removeprefix(THINK_OPEN)
        if self._place is _Place.OPENED:
            text = text.lstrip()
            if not text:
                return "", ""
            self._place = _Place.THOUGHT
        if self._place is _Place.THOUGHT:
            reasoning, closed, rest = text.partition(THINK_CLOSE)
            if not closed:
                return self._hold(text), ""
            self._place = _Place.GAP
            text = rest
        return reasoning, self._after_gap(text)

    def end(self) -> tuple[str, str]:
        """Returns what has been held back when the text ends."""
        held, self._held = self._held, ""
        return (held, "") if self._place is _Place.THOUGHT else ("", held)

    def _hold(self, text: str) -> str:
        """Returns a text without its end, if the tag that closes the thoughts may begin there."""
        longest = min(len(text), len(THINK_CLOSE) - 1)
        length = next((each for each in range(longest, 0, -1) if THINK_CLOSE.startswith(text[-each:])), 0)
        self._held = text[len(text) - length :]
        return text[: len(text) - length]

    def _after_gap(self, text: str) -> str:
        """Returns a text without the blank lines that separate an answer from the thoughts."""
        text = text.lstrip()
        if text:
            self._place = _Place.ANSWER
        return text
