"""Images that come within the request, as data: URLs (RFC 2397)."""

from __future__ import annotations

import base64
import binascii
import re
from urllib.parse import unquote_to_bytes

from services.edge.remote_images.fetcher import too_large

# The type is not compared with the image, for clients often get it wrong.
_HEAD = re.compile(
    r"\s*data:\s*image/[a-z0-9.+-]{1,64}\s*(?:;\s*[a-z0-9=._-]{1,64}\s*){0,4};[ \t\r\n]*base64\s*,",
    re.IGNORECASE | re.ASCII,
)
_NOT_BASE64 = "is not valid base64 of the standard alphabet"
_WHITE_SPACE = b" \t\n\f\r"


def is_data_url(text: str) -> bool:
    """Whether a URL is one, whatever is in it."""
    return text.lstrip()[:5].lower() == "data:"


def decode_data_url(text: str, most_bytes: int) -> bytes:
    """Returns the bytes of `data:image/…;base64,…`; raises ValueError, as the end of a sentence, if it is not one.

    The base64 is read as browsers do (https://infra.spec.whatwg.org/#forgiving-base64): white space is passed over, and
    padding may be missing.
    """
    head = _HEAD.match(text)
    if head is None:
        raise ValueError("must begin with data:image/png;base64, or the like for jpeg, webp or gif")
    try:
        encoded = text[head.end() :].encode("ascii")
        if b"%" in encoded:
            encoded = unquote_to_bytes(encoded)
        encoded = encoded.translate(None, _WHITE_SPACE)
        if not encoded.endswith(b"="):
            encoded += b"=" * (-len(encoded) % 4)
        if len(encoded) // 4 * 3 - 2 > most_bytes:
            raise too_large(most_bytes)
        decoded = base64.b64decode(encoded, validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise ValueError(_NOT_BASE64) from None
    # Python passes over padding that is too much.
    if len(encoded) % 4:
        raise ValueError(_NOT_BASE64)
    return decoded
