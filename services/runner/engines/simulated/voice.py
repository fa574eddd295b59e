"""The simulated engine's way of speaking: plain words, fixed by the prompt and the position alone."""

from __future__ import annotations

import zlib

_SYLLABLES = ("ba", "de", "fi", "go", "lu", "ma", "ne", "po", "ri", "su", "ta", "ve", "wi", "xo", "yu", "za")
_WORDS = tuple(first + second for first in _SYLLABLES for second in _SYLLABLES)
_SIZE = len(_WORDS)
# Ids below _SIZE are words that follow another word; those from _SIZE on are the same words at the start of an answer.
TEXTS = tuple(" " + word for word in _WORDS) + _WORDS
BYTES = tuple(text.encode() for text in TEXTS)
SHORTEST, LONGEST = 16, 64
_THOUGHT = 8


class Voice:
    """What is said in answer to one prompt. The same prompt gives the same answer in every process."""

    __slots__ = ("_first", "_stride", "length")

    endless = True

    def __init__(self, prompt: str) -> None:
        digest = zlib.crc32(prompt.encode())
        # Tokens after which the answer ends by itself.
        self.length = SHORTEST + digest % (LONGEST - SHORTEST + 1)
        self._first = digest >> 8
        # An odd stride visits all words before it repeats one, because their number is a power of two.
        self._stride = (digest >> 3) | 1

    def token(self, position: int) -> int:
        """Returns the id of the token at this position of the answer."""
        word = (self._first + position * self._stride) % _SIZE
        return word if position else word + _SIZE

    def alternatives(self, position: int, count: int) -> list[int]:
        """Returns the `count` most likely tokens at this position, best first; the first of them is said."""
        token = self.token(position)
        base = token - token % _SIZE
        return [base + (token + step) % _SIZE for step in range(count)]

    @property
    def text(self) -> str:
        """The whole answer, as it ends by itself."""
        return "".join(TEXTS[self.token(position)] for position in range(self.length))

    @property
    def thought(self) -> str:
        """A few words for a thought before the answer."""
        return " ".join(map(self.word, range(_THOUGHT)))

    def word(self, number: int) -> str:
        """Returns one of its words."""
        return _WORDS[self.token(number) % _SIZE]

    def order(self, number: int) -> int:
        """Returns the place of a number from 0 to 255 in an order of these numbers."""
        return (self._first + number * self._stride) % _SIZE


def count_tokens(text: str) -> int:
    """Returns the length of a prompt in this voice's tokens: its words."""
    return len(text.split())
