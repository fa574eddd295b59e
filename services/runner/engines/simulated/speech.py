"""What the simulated engine says in answer to one job, token by token."""

from __future__ import annotations

from typing import Protocol

from services.runner.engines.simulated.spelling import spell
from services.runner.engines.simulated.voice import Voice


class Speech(Protocol):
    """An answer of which every token is known before the first is said, so that it can be resumed anywhere."""

    # Tokens after which it ends by itself.
    length: int
    # Whether it goes on beyond `length` if more tokens are asked for.
    endless: bool

    def token(self, position: int) -> int:
        """Returns the id of the token at this position of the answer."""

    def alternatives(self, position: int, count: int) -> list[int]:
        """Returns the `count` most likely tokens at this position, best first; the first of them is said."""


class WrittenSpeech:
    """A text that was written for the answer: by a script, or so that it follows a grammar."""

    __slots__ = ("_tokens", "_voice", "length")

    endless = False

    def __init__(self, text: str, voice: Voice) -> None:
        """`voice` offers the alternatives to what is said."""
        self._tokens = spell(text)
        self._voice = voice
        self.length = len(self._tokens)

    def token(self, position: int) -> int:
        """Returns the id of the token at this position of the answer."""
        return self._tokens[position]

    def alternatives(self, position: int, count: int) -> list[int]:
        """Returns what is said, and words that the voice might have said instead."""
        return [self._tokens[position], *self._voice.alternatives(position, count - 1)]
