"""Reads the body of a request within the bounds of its size and of what its account may hold in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable
from dataclasses import dataclass

from aiohttp import web

from services.common.errors import Code, MeshError
from services.common.limits.json_counts import LEAST_BYTES
from services.edge.http.bodies.json_bounds import check_json, image_bytes
from services.edge.http.bodies.memory import BodyShare

# The most chunks of a chunked body: each costs a microsecond, however small it is.
MOST_CHUNKS = 65_536


class BodyTooLargeError(Exception):
    """A body is larger than `limit` bytes; `beside_images` says that its images do not count."""

    def __init__(self, limit: int, *, beside_images: bool = False) -> None:
        super().__init__(limit)
        self.limit = limit
        self.beside_images = beside_images


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """The most bytes of a body, after decompression."""

    # Without images.
    text: int
    # With them.
    whole: int


class IncomingBody:
    """The body of one request. Nothing here keeps it: what is returned is gone when its reader is done with it."""

    def __init__(self, request: web.Request, limits: BodyLimits, share: BodyShare, *, digest: bool = False) -> None:
        """`digest` says that the SHA-256 of what is received is asked for later."""
        # Not the request, which has this body: they would stay until the garbage collector comes.
        self._content = request.content
        self._headers = request.headers
        self._limits = limits
        # Of the memory for bodies; it belongs to the request until that ends.
        self.share = share
        self._chunks = 0
        # Of what has been received so far, after decompression; None if nobody asks for it.
        self.digest = hashlib.sha256() if digest else None

    async def read(self, *, images: bool = False) -> bytes:
        """Returns a JSON body that can be decoded at little cost; `images` says that it may hold some.

        Raises BodyTooLargeError, NoMemoryError, or MeshError INVALID_REQUEST for more values than any request needs.
        """
        limits = self._limits
        body = await self._receive(limits.whole if images else limits.text)
        if len(body) > LEAST_BYTES:
            pieces = check_json(body)
            if len(body) > limits.text and (pieces is None or len(body) - image_bytes(pieces) > limits.text):
                raise BodyTooLargeError(limits.text, beside_images=True)
        return body

    async def _receive(self, most: int) -> bytes:
        content, chunked = self._content, "Transfer-Encoding" in self._headers
        if content.is_eof() and not chunked:
            # All of it is here, as with most requests.
            whole = content.read_nowait()
            self._take(whole, 0, most)
            return whole
        length = self._headers.get("Content-Length")
        if length is not None and not content.is_eof():
            if int(length) > most:
                raise BodyTooLargeError(most)
            # Rather now than after most of it has come.
            self.share.expect(int(length))
        # Many small pieces take no more room in here than few large ones.
        body = bytearray()
        receive = self._next_chunk if chunked else content.readany
        while piece := await receive():
            self._take(piece, len(body), most)
            body += piece
        return bytes(body)

    def _take(self, piece: bytes, before: int, most: int) -> None:
        """Takes memory for a piece, perhaps empty, that so many bytes came before."""
        if before + len(piece) > most:
            raise BodyTooLargeError(most)
        if piece:
            self.share.take(len(piece))
            if self.digest is not None:
                self.digest.update(piece)

    async def _next_chunk(self) -> bytes:
        """Returns the next piece of a chunked body, empty at its end."""
        piece, ended = b"", True
        while ended and not piece:
            self._chunks += 1
            if self._chunks > MOST_CHUNKS:
                message = f"The request body comes in more than {MOST_CHUNKS} chunks. Send fewer and larger ones."
                raise MeshError(Code.INVALID_REQUEST, message)
            piece, ended = await self._content.readchunk()
        return piece


BODY = web.RequestKey("body", IncomingBody)


def read_json(request: web.Request, *, images: bool = False) -> Awaitable[bytes]:
    """Returns the JSON body of a request, as `IncomingBody.read` does."""
    return request[BODY].read(images=images)
