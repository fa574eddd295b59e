"""Base64 for tokens and keys: the URL's alphabet without padding (RFC 7515, appendix C)."""

from __future__ import annotations

import base64


def encode(data: bytes) -> bytes:
    """Returns the text of bytes."""
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def decode(text: str) -> bytes:
    """Returns the bytes of a text; raises ValueError unless it is the one text that stands for them."""
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    # Python skips foreign characters, and the last character may have bits that stand for nothing.
    if encode(data).decode() != text:
        raise ValueError("not the canonical base64url text of any bytes")
    return data
