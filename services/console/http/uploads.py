"""Bounds how much of this process's memory questions with pictures may take, together and for each account."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from aiohttp import web

from services.common.errors import Code, MeshError
from services.console.http.forms import MOST_BYTES

# The most bytes of one question: a conversation with about ten pictures, as the page makes them smaller.
MOST_JSON_BYTES = 8 * 1024 * 1024
_MOST = 8
_MOST_OF_ACCOUNT = 2
# Gives a place back.
Leave = Callable[[], None]


class Uploads:
    """Gives a place to each large body until it has been sent on; small ones need none."""

    def __init__(self, most: int = _MOST, most_of_account: int = _MOST_OF_ACCOUNT) -> None:
        self._most = most
        self._most_of_account = most_of_account
        self._places: Counter[str] = Counter()

    def take(self, request: web.Request, account_id: str) -> Leave:
        """Takes a place for the body of a request, and returns what gives it back; doing so again changes nothing.

        Raises MeshError OVERLOADED if there is none.
        """
        length = request.content_length
        if length is not None and length <= MOST_BYTES:
            return _nothing
        if self._places.total() >= self._most or self._places[account_id] >= self._most_of_account:
            message = "Too many pictures are on their way at this moment. Try again in a few seconds."
            raise MeshError(Code.OVERLOADED, message, retry_after=2.0)
        self._places[account_id] += 1
        held = True

        def leave() -> None:
            nonlocal held
            if held:
                held = False
                self._places -= Counter({account_id: 1})

        return leave


def _nothing() -> None:
    """Gives back what was not taken."""


async def read_json(request: web.Request) -> bytes:
    """Returns a body of JSON, undecoded; raises HTTPException for another type and for one that is too large."""
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType
    length = request.content_length or 0
    if length > MOST_JSON_BYTES:
        raise web.HTTPRequestEntityTooLarge(MOST_JSON_BYTES, length)
    body = bytearray()
    while piece := await request.content.readany():
        body += piece
        if len(body) > MOST_JSON_BYTES:
            raise web.HTTPRequestEntityTooLarge(MOST_JSON_BYTES, len(body))
    return bytes(body)
