"""Images that come within the request, as data: URLs (RFC 2397)."""

from __future__ import annotations

import base64
import binascii
import re

from services.edge.remote_images.fetcher import too_large

# The type is not compared with the image, for clients often get it wrong.
_HEAD = re.compile(r"data:image/[a-z0-9.+-]{1,64}(?:;[a-z0-9=._-]{1,64}){0,4};base64,", re.IGNORECASE)


def decode_data_url(text: str, most_bytes: int) -> bytes:
    """Returns the bytes of `data:image/…;base64,…`; raises ValueError, as the end of a sentence, if it is not one."""
    head = _HEAD.match(text)
    if head is None:
        raise ValueError("must begin with data:image/png;base64, or the like for jpeg, webp or gif")
    if (len(text) - head.end()) // 4 * 3 - 2 > most_bytes:
        raise too_large(most_bytes)
    try:
        return base64.b64decode(text[head.end() :], validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("is not valid base64: use the standard alphabet with padding, and no line breaks") from None
