"""Refuses JSON bodies that would cost too much to read, before anything is made of them.

A scan in C, of about 1 ms for each MiB, and only of bodies that are large: docs/performance.md has the figures.
"""

from __future__ import annotations

import re
import string

from services.common.errors import Code, MeshError
from services.common.limits.json_counts import MOST_COUNTS, Pieces, count, take_apart

# What may be a large string: an image, in a field of one of these names.
_IMAGE_FIELDS = frozenset({b"url", b"image_url"})
_DATA_URL = re.compile(rb"\s*data:", re.IGNORECASE)
# An image in base64 without the head of a URL, as Anthropic's clients send it: a field of this name, and what it may
# hold. JSON may escape slashes.
_BASE64_FIELD = b"data"
_BASE64 = string.ascii_letters.encode() + string.digits.encode() + b"+/=\\"
# A shorter string counts as text, whatever it is.
_LEAST_IMAGE_BYTES = 1024


def check_json(body: bytes) -> Pieces | None:
    """Takes a large body apart and returns the pieces; raises MeshError INVALID_REQUEST if it holds too much."""
    pieces = take_apart(body)
    excess = count(pieces).excess(MOST_COUNTS)
    if excess:
        raise MeshError(Code.INVALID_REQUEST, f"The request body has more than {excess}. Send fewer in one request.")
    return pieces


def image_bytes(pieces: Pieces) -> int:
    """Returns how many bytes of a body are images, as data: URLs or in base64.

    They are plain ASCII without escapes but for slashes: in memory, anything else may be larger than what was sent.
    """
    return sum(
        len(pieces[at])
        for at in range(3, len(pieces), 2)
        if len(pieces[at]) >= _LEAST_IMAGE_BYTES and _is_image(pieces[at - 2], pieces[at])
    )


def _is_image(name: bytes, text: bytes) -> bool:
    if name == _BASE64_FIELD:
        return not text.translate(None, _BASE64) and b"\\u" not in text
    return name in _IMAGE_FIELDS and _DATA_URL.match(text) is not None and text.isascii() and b"\\u" not in text
