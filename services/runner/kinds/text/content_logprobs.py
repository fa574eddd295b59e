"""Sorts out the log probabilities of an answer's content from those of its thought and its calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from services.runner.kinds.text.job import Step, TokenLogprob


class _Token(NamedTuple):
    # Bytes of the model's text before it, and up to its end.
    start: int
    stop: int
    entry: TokenLogprob


class ContentLogprobs:
    """Follows which bytes of the model's text each token stands for, and which of them are content.

    The tokens that it returns, joined, are the content: of a token that is content only in part, such as a tag with the
    first word after it, just that part is shown.
    """

    def __init__(self) -> None:
        self._size = 0
        # The text since the last `take`.
        self._text = ""
        self._tokens: list[_Token] = []
        self._content: list[tuple[int, int]] = []

    def add(self, step: Step) -> None:
        """Adds the text of a step, before the parser decides what it is."""
        start = self._size
        self._size += len(step.text.encode())
        self._text += step.text
        for entry in step.logprobs:
            stop = min(start + len(entry.token), self._size)
            self._tokens.append(_Token(start, stop, entry))
            start = stop
        if step.logprobs and start < self._size:
            # Bytes that are no UTF-8 come as U+FFFD, which is longer.
            self._tokens[-1] = self._tokens[-1]._replace(stop=self._size)

    def add_content(self, places: Sequence[tuple[int, int]]) -> None:
        """Notes which text is content: each place by the characters after its beginning and after its end."""
        self._content += [(self._byte(begin), self._byte(end)) for begin, end in places]

    def take(self) -> list[TokenLogprob]:
        """Returns the tokens of the content since the last time; all text so far has been decided."""
        taken, at = [], 0
        for token in self._tokens:
            if token.start == token.stop:
                # The end of a turn, for one, has no text.
                continue
            while at < len(self._content) and self._content[at][1] <= token.start:
                at += 1
            if shown := self._shown(token, at):
                taken.append(shown)
        self._text = ""
        self._tokens.clear()
        self._content.clear()
        return taken

    def _byte(self, characters: int) -> int:
        """Returns where so many characters before the end of the text are, in bytes."""
        return self._size - len(self._text[len(self._text) - min(characters, len(self._text)) :].encode())

    def _shown(self, token: _Token, at: int) -> TokenLogprob | None:
        """Returns the part of a token that lies in places of content, from the one `at` an index on; None if none."""
        start, stop, entry = token
        parts = []
        for begin, end in self._content[at:]:
            if begin >= stop:
                break
            if begin <= start and stop <= end:
                return entry
            parts.append(entry.token[max(begin - start, 0) : end - start])
        part = b"".join(parts)
        return replace(entry, token=part) if part else None
