"""The identity of a vocabulary: tokens of one mean nothing to a model with another."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

_CHARACTERS = 16


def vocabulary_digest(pieces: Iterable[bytes]) -> str:
    """Returns a digest of the bytes that each token adds to an answer, in the order of the ids.

    It is the same in every process and for every engine with this vocabulary. Ids at the end that add nothing, with
    which some files fill a vocabulary up, do not count.
    """
    digest = hashlib.sha256()
    empty = b""
    for piece in pieces:
        item = len(piece).to_bytes(4, "big") + piece
        if piece:
            digest.update(empty + item)
            empty = b""
        else:
            empty += item
    return digest.hexdigest()[:_CHARACTERS]
