"""What an edge and a runner compare of a text that both know."""

from __future__ import annotations

import hashlib

_REPLACEMENT = "\ufffd"
_BYTES = 8


def text_digest(text: str) -> bytes:
    """Returns a digest of a text of tokens.

    Bytes that are no UTF-8 are left out: engines differ in how many replacement characters they write for them.
    """
    return hashlib.sha256(text.replace(_REPLACEMENT, "").encode(errors="replace")).digest()[:_BYTES]
