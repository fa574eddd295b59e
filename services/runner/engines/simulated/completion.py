"""Completes a text so that it follows a grammar, and soon ends.

llguidance says which bytes may come next; of those, the ones that close something are taken first, so that answers are
short. A byte that has been taken often gives way to others, so that no pattern keeps the answer from ending.
"""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any

import llguidance

from services.runner.engines.simulated.voice import Voice
from services.runner.kinds.text.prompt.grammar import LIMITS, byte_tokenizer, in_few_words
from services.runner.kinds.text.prompt.thought import THINK_CLOSE, THINK_OPEN
from services.runner.refusals import invalid, not_compiled

# An answer that is longer, in bytes, is refused: it is written at once, on the event loop.
LONGEST = 16_384
_LETTERS = string.ascii_letters.encode()
_READABLE = _LETTERS + string.digits.encode()
# So many letters may come only where any text may.
_FREE = 20
# What ends something, best first; what separates parts of addresses and dates; what begins what has to be ended.
_CLOSERS, _SEPARATORS, _OPENERS = b'}]",', b"@.:/-", b"{[\\"
# So often a closer is taken before everything else comes first once.
_PATIENCE = 64
# Bytes that come late, as if they had been taken so often already: those of other scripts than Latin, and the 6 of a
# leap second, which grammars allow and many readers of times do not.
_LATE, _HANDICAP = frozenset({*range(0x80, 0x100), ord("6")}), 8
# Words in a text that may not end yet.
_MOST_WORDS = 64


def complete(parts: Sequence[str], grammar: str, voice: Voice, *, thinking: bool) -> str:
    """Returns as much of an answer as a grammar allows, with what it lacks to be whole.

    A part that the grammar does not allow is left out. If the answer may not end then, it goes on with the beginning of
    the first such part. `thinking` says that the text begins with a thought. The same arguments always give the same
    answer. Raises MeshError INVALID_REQUEST for a grammar that cannot be compiled, or whose answers are longer than
    LONGEST.
    """
    answer = _Answer(_compiled(grammar).deep_copy(), voice, thinking=thinking)
    # Without what stands before it, a part may have nothing to be set apart from.
    left_out = [part for part in parts if not (answer.say_whole(part) or answer.say_whole(part.lstrip()))]
    if left_out and not answer.whole:
        answer.say(left_out[0].encode())
    while not answer.whole:
        answer.go_on()
    return answer.said.decode(errors="replace")


@lru_cache(maxsize=64)
def _compiled(grammar: str) -> Any:
    matcher = llguidance.LLMatcher(byte_tokenizer(), grammar, log_level=0, limits=LIMITS)
    if matcher.is_error():
        raise not_compiled("response_format", in_few_words(matcher.get_error()))
    return matcher


class _Answer:
    def __init__(self, matcher: Any, voice: Voice, *, thinking: bool) -> None:
        self._matcher = matcher
        self._voice = voice
        self._thinking = thinking
        self._words = 0
        self._used: Counter[int] = Counter()
        self.said = bytearray()

    @property
    def whole(self) -> bool:
        """Whether the answer may end here."""
        return bool(self._matcher.is_accepting())

    def say_whole(self, text: str) -> bool:
        """Says a text if the grammar allows it to its end, and tells whether it does."""
        data = text.encode()
        allowed: int = self._matcher.validate_tokens(list(data))
        return allowed == len(data) == self.say(data)

    def say(self, text: bytes) -> int:
        """Says as much of a text as the grammar allows, and returns how many bytes that was."""
        taken: int = self._matcher.try_consume_tokens(list(text))
        if self._matcher.is_error():
            raise not_compiled("response_format", in_few_words(self._matcher.get_error()))
        self.said += text[:taken]
        if len(self.said) > LONGEST:
            message = f"'response_format' and forced calls must allow an answer of {LONGEST} bytes; shorten the schema."
            raise invalid(message, "response_format")
        return taken

    def go_on(self) -> None:
        """Says one thing more."""
        if forced := self._matcher.compute_ff_bytes():
            self.say(forced)
            return
        mask = self._matcher.compute_bitmask()
        allowed = [byte for byte in range(256) if mask[byte >> 3] >> (byte & 7) & 1]
        if not allowed:
            raise not_compiled("response_format", "it finds no text that follows this schema")
        freely = sum(byte in _LETTERS for byte in allowed) >= _FREE
        if not freely or not self._say_freely(allowed):
            byte = min(allowed, key=partial(self._rank, freely=freely))
            self._used[byte] += 1
            self.say(bytes([byte]))

    def _say_freely(self, allowed: list[int]) -> int:
        """Says something where any text may come: the end of a thought or of a text, or one more word.

        Returns how many bytes that was.
        """
        if self._in_thought:
            return self.say(f"\n{THINK_CLOSE}\n\n".encode())
        if self.said.endswith(b'"'):
            self._words = 1
            return self.say(self._voice.word(len(self.said)).encode())
        if ord('"') in allowed:
            return self.say(b'"')
        self._words += 1
        return self.say(f" {self._voice.word(len(self.said))}".encode()) if self._words <= _MOST_WORDS else 0

    @property
    def _in_thought(self) -> bool:
        opened = self._thinking or self.said.startswith(THINK_OPEN.encode())
        return opened and THINK_CLOSE.encode() not in self.said

    def _rank(self, byte: int, *, freely: bool) -> tuple[int, int, int]:
        """Returns by what the next byte is chosen: the lowest is said."""
        used, order = self._used[byte], self._voice.order(byte)
        if byte in _CLOSERS and not freely:
            return used // _PATIENCE, _CLOSERS.index(byte), 0
        if byte in _SEPARATORS and freely:
            return used, 4, order
        if byte in _LATE:
            return used + _HANDICAP, 6, order
        # Readable text before the rest, in an order that depends on the prompt.
        kind = 5 if byte in _READABLE else 7 if byte in _OPENERS else 8 if chr(byte).isspace() else 6
        return used, kind, order
