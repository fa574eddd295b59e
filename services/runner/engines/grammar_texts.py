"""Grammars whose texts may spell a control token.

Where a grammar leaves only one text to say, llguidance takes that text's tokens from the tokenizer, which reads the
spelling of a control token as that token. The grammar does not allow the token, so the answer would end there. Without
such forcing the model spells the text in ordinary tokens. It takes more tokens for everything else, so it is only done
where a text may need it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_HEAD = "%llguidance {}"
_UNFORCED = '%llguidance {"no_forcing": true}'
_HAS_PATTERN = re.compile(r'"pattern(?:Properties)?"')
# A character by its number, which may be any.
_NUMBERED = re.compile(r"\\\\[xuUpP]")
# The grammar of a custom tool may put a text together from any parts.
_OF_CLIENT = "%lark "
# What may stand between the characters of a text within a pattern that spells it.
_SYNTAX = str.maketrans("", "", r"\[](){}?:^$.*+")


class GrammarTexts:
    """The spellings of a model's control tokens, as texts that a grammar may ask for."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = [text for text in texts if text]
        self._bare = [bare for text in self._texts if (bare := text.translate(_SYNTAX))]

    def unforced(self, grammar: str) -> str:
        """Returns the grammar, without forcing if an answer may have to spell a control token."""
        return grammar.replace(_HEAD, _UNFORCED, 1) if self._may_be_spelled(grammar) else grammar

    def _may_be_spelled(self, grammar: str) -> bool:
        if self._texts and (_OF_CLIENT in grammar or any(text in grammar for text in self._texts)):
            return True
        if not _HAS_PATTERN.search(grammar):
            return False
        bare = grammar.translate(_SYNTAX)
        return bool(_NUMBERED.search(grammar)) or any(text in bare for text in self._bare)
