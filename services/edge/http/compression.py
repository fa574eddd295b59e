"""Compressed bodies: what clients may send, and which answers are worth compressing."""

from __future__ import annotations

import re

from aiohttp import web

from services.common.errors import MeshError
from services.edge.http.parsing import invalid

# aiohttp inflates these piece by piece, so the limit of a body's size stops what swells up too much.
_READABLE = frozenset({"gzip", "deflate", "identity"})
# Below this, compressing costs more time than it saves on the way.
_LEAST_BYTES = 16 * 1024
# The weight that says "not this one".
_REFUSED = re.compile(r"q=0(\.0*)?")


def check_encoding(request: web.Request) -> None:
    """Raises MeshError INVALID_REQUEST for a body whose Content-Encoding cannot be undone."""
    encoding = request.headers.get("Content-Encoding")
    if encoding is not None and encoding.strip().lower() not in _READABLE:
        raise unreadable_encoding()


def unreadable_encoding() -> MeshError:
    """Returns the refusal of a body whose Content-Encoding cannot be undone."""
    message = "The body's Content-Encoding is not served; send it as gzip, deflate or plain."
    return invalid("Content-Encoding", message)


def compress(request: web.Request, response: web.StreamResponse) -> None:
    """Makes a large JSON body travel as gzip if the client takes that; streams are never held back for it."""
    body = response.body if isinstance(response, web.Response) else None
    # Its size is known at once, while aiohttp reads the type out of the headers.
    if not isinstance(body, bytes) or len(body) < _LEAST_BYTES or response.content_type != "application/json":
        return
    response.headers.add("Vary", "Accept-Encoding")
    if _takes_gzip(request.headers.get("Accept-Encoding", "")):
        response.enable_compression(web.ContentCoding.gzip)


def _takes_gzip(accepted: str) -> bool:
    """Reads Accept-Encoding (RFC 9110, 12.5.3) as far as gzip is concerned."""
    for item in accepted.lower().split(","):
        coding, _, parameter = item.partition(";")
        if coding.strip() == "gzip":
            return not _REFUSED.fullmatch(parameter.replace(" ", ""))
    return False
