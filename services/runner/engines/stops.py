"""Stop strings for engines that must find them by themselves, exactly and at the granularity of tokens.

Text that may still turn out to be the beginning of a stop string is held back together with its tokens, so that the
tokens sent are always those behind exactly the text sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

# A token, or several whose text belongs together.
TokenT = TypeVar("TokenT")


class StopScanner(Generic[TokenT]):
    """Watches one answer for its stop strings."""

    __slots__ = ("_held", "_stops", "_text")

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        # Tokens held back, as (token, text), and their joined text.
        self._held: list[tuple[TokenT, str]] = []
        self._text = ""

    def push(self, token: TokenT, text: str) -> tuple[str, list[TokenT], bool]:
        """Takes one token; returns the text and tokens that are now certain, and whether a stop string came.

        After a stop string the text ends before it, and a token that it cuts through is not among the tokens.
        """
        self._held.append((token, text))
        self._text += text
        found = [at for stop in self._stops if (at := self._text.find(stop)) >= 0]
        certain = min(found) if found else len(self._text) - self._undecided()
        out, tokens = self._release(certain)
        if found:
            return out + self._text[: certain - len(out)], tokens, True
        return out, tokens, False

    def flush(self) -> tuple[str, list[TokenT]]:
        """Returns what is still held back, for an answer that ended without a stop string."""
        return self._release(len(self._text))

    def _undecided(self) -> int:
        """Returns the length of the longest end of the text with which a stop string may begin."""
        longest = max(map(len, self._stops)) - 1
        for length in range(min(longest, len(self._text)), 0, -1):
            end = self._text[-length:]
            if any(stop.startswith(end) for stop in self._stops):
                return length
        return 0

    def _release(self, certain: int) -> tuple[str, list[TokenT]]:
        """Takes the tokens that lie wholly within the first `certain` characters."""
        used = length = 0
        for _, text in self._held:
            if length + len(text) > certain:
                break
            used += 1
            length += len(text)
        tokens = [token for token, _ in self._held[:used]]
        out, self._text = self._text[:length], self._text[length:]
        del self._held[:used]
        return out, tokens
