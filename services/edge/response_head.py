"""What the heads of responses have in common, whoever writes their bodies."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import HttpVersion11, web


def set_content_type(response: web.StreamResponse, content_type: str) -> None:
    """Sets the content type; that of text says that it is UTF-8."""
    response.content_type = content_type
    if content_type.startswith("text/"):
        # Some clients, Python's requests among them, take text for Latin-1 unless they are told.
        response.charset = "utf-8"


def streamed_response(request: web.Request, headers: Mapping[str, str], content_type: str) -> web.StreamResponse:
    """Returns a response, not yet begun, whose body is sent while it is made."""
    response = web.StreamResponse(headers=headers)
    set_content_type(response, content_type)
    response.headers["Cache-Control"] = "no-cache"
    # Asks nginx and those that learned from it not to hold the stream back.
    response.headers["X-Accel-Buffering"] = "no"
    if request.version >= HttpVersion11:
        # Older clients get a body that ends with the connection.
        response.enable_chunked_encoding()
    return response
