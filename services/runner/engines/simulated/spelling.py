"""Tokens for any text: one for each character, or for up to three characters of ASCII.

The id of such a token says by itself which text it is, so that every runner has the same vocabulary without a table.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable

from services.runner.engines.simulated.voice import BYTES, TEXTS
from services.runner.kinds.text.vocabulary_digest import vocabulary_digest

_ASCII = 0x80
# The first ids of tokens of one character, of two and of three; those below are the words of the voice.
_ONE = len(TEXTS)
_TWO = _ONE + sys.maxunicode + 1
_THREE = _TWO + _ASCII**2
_END = _THREE + _ASCII**3
_PIECES = re.compile(r"[\x00-\x7f]{1,3}|.", re.DOTALL)
_SURROGATES = range(0xD800, 0xE000)
# The ids beyond the words follow from the rule above, which the last entry stands for.
VOCABULARY = vocabulary_digest([*BYTES, b"characters, pairs and triples of ASCII"])


def spell(text: str) -> list[int]:
    """Returns the tokens of a text, which holds no surrogates."""
    return [_token(piece) for piece in _PIECES.findall(text)]


def _token(piece: str) -> int:
    if len(piece) == 1:
        return _ONE + ord(piece)
    if len(piece) == 2:
        return _TWO + ord(piece[0]) * _ASCII + ord(piece[1])
    return _THREE + (ord(piece[0]) * _ASCII + ord(piece[1])) * _ASCII + ord(piece[2])


def text_of(token_id: int) -> str:
    """Returns the text of a token, a word or a piece; raises ValueError for an id that is neither."""
    if token_id < _ONE:
        return TEXTS[token_id]
    if token_id < _TWO:
        if token_id - _ONE in _SURROGATES:
            raise ValueError(token_id)
        return chr(token_id - _ONE)
    if token_id >= _END:
        raise ValueError(token_id)
    rest, last = divmod(token_id - (_THREE if token_id >= _THREE else _TWO), _ASCII)
    if token_id < _THREE:
        return chr(rest) + chr(last)
    return chr(rest // _ASCII) + chr(rest % _ASCII) + chr(last)


def detokenize(token_ids: Iterable[int]) -> str:
    """Returns the text of these tokens; raises ValueError for an id that is none."""
    return "".join(map(text_of, token_ids))
