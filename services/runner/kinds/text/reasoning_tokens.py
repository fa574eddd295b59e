"""How many tokens of an answer are reasoning: a property of the answer, however its tokens come."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from services.runner.kinds.text.prompt.output import ParsedText
from services.runner.kinds.text.prompt.parser import OutputParser

# No character takes more tokens: that many bytes has one in UTF-8.
_LONGEST_CHARACTER = 4


class ReasoningTokens:
    """Counts one by one: steps of several tokens, and the tokens of an interrupted run, would else count as one."""

    def __init__(self, parser: OutputParser, detokenize: Callable[[Sequence[int]], str]) -> None:
        """`parser` looks for nothing but the thought, and is used by nobody else."""
        self._parser = parser
        self._detokenize = detokenize
        # Tokens whose last character is not complete yet.
        self._group: list[int] = []
        self._count = 0

    @property
    def count(self) -> int:
        """The tokens that were reasoning so far, with those of the tags that end in one."""
        return self._count + (len(self._group) if self._parser.thinking else 0)

    def add(self, token_ids: Sequence[int]) -> None:
        """Takes the next tokens of the answer."""
        for token_id in token_ids:
            if self._parser.answering:
                return
            self._group.append(token_id)
            text = self._detokenize(self._group)
            if text.endswith("\ufffd") and len(self._group) < _LONGEST_CHARACTER:
                continue
            thinking = self._parser.thinking
            self._parser.feed(text, ParsedText())
            if thinking or self._parser.thinking:
                self._count += len(self._group)
            self._group = []
