"""Reads multipart/form-data (RFC 7578) with one file, bounded in every direction."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import aiohttp
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from services.common.errors import Code, MeshError
from services.edge.http.bodies.incoming import BodyTooLargeError
from services.edge.http.bodies.memory import BodyShare
from services.edge.http.parsing import invalid

_MOST_PARTS = 64
_LONGEST_FIELD = 64 * 1024
_LONGEST_NAME = 100
# The most lines that are no content: boundaries, headers of parts, and what may come before the first boundary.
_MOST_LINES = 1024
# What boundaries and headers of parts may take beside the file and the fields.
_OVERHEAD = 1024 * 1024

# What the headers about encodings may say of a part that is as it is.
_PLAIN_ENCODINGS = {
    "Content-Transfer-Encoding": {"", "7bit", "8bit", "binary"},
    "Content-Encoding": {"", "identity"},
}

# aiohttp would write them to the log, with the names of files and fields in them.
for category in (aiohttp.BadContentDispositionHeader, aiohttp.BadContentDispositionParam):
    warnings.simplefilter("ignore", category)


@dataclass(slots=True)
class Form:
    """A form that has arrived."""

    # The values of each field, in order; `[]` at the end of a name is cut off, and an empty field is absent.
    fields: dict[str, list[str]] = field(default_factory=dict)
    # None if none was sent.
    file: bytes | None = None


class _Lines:
    """A stream of which no more than so many lines are read: each costs a microsecond, and all come at once."""

    def __init__(self, content: aiohttp.StreamReader) -> None:
        self._content = content
        self._lines = 0
        # What else readers of forms use.
        self.read = content.read
        self.at_eof = content.at_eof
        self.unread_data = content.unread_data

    async def readline(self, *, max_line_length: int | None = None) -> bytes:
        self._lines += 1
        if self._lines > _MOST_LINES:
            raise ValueError("too many lines beside the content")
        return await self._content.readline(max_line_length=max_line_length)


class _Digested:
    """A stream whose bytes are given to `take` once each, however often its reader puts some back."""

    def __init__(self, content: aiohttp.StreamReader, take: Callable[[bytes], None]) -> None:
        self._content = content
        self._take = take
        # How many bytes have been put back. They come first again, and some of them never came from outside.
        self._put_back = 0
        self.at_eof = content.at_eof

    async def read(self, n: int = -1) -> bytes:
        return self._noted(await self._content.read(n))

    async def readany(self) -> bytes:
        return self._noted(await self._content.readany())

    async def readline(self, *, max_line_length: int | None = None) -> bytes:
        return self._noted(await self._content.readline(max_line_length=max_line_length))

    def unread_data(self, data: bytes) -> None:
        self._put_back += len(data)
        self._content.unread_data(data)

    def _noted(self, data: bytes) -> bytes:
        known = min(self._put_back, len(data))
        self._put_back -= known
        self._take(data[known:])
        return data


async def read_form(
    request: web.Request, max_file_bytes: int, share: BodyShare, note: Callable[[bytes], None] | None = None
) -> Form:
    """Reads a form whose field `file` is a file; what it takes of memory is taken from `share`.

    `note` is given all bytes of the body in their order.

    Raises BodyTooLargeError, or MeshError INVALID_REQUEST for what is not such a form. How long it may take is bounded
    for all bodies alike (services/edge/http/request_body.py).
    """
    if request.content_type != "multipart/form-data":
        message = (
            "Send the body as multipart/form-data: the recording in the field 'file', the name of the model in 'model'."
        )
        raise MeshError(Code.INVALID_REQUEST, message)
    if (request.content_length or 0) > max_file_bytes + _OVERHEAD:
        raise BodyTooLargeError(max_file_bytes)
    share.expect(request.content_length or 0)
    form = Form()
    try:
        # aiohttp reports what is malformed by several types, assertions among them.
        content = request.content if note is None else cast("aiohttp.StreamReader", _Digested(request.content, note))
        reader = aiohttp.MultipartReader(request.headers, cast("aiohttp.StreamReader", _Lines(content)))
        for _ in range(_MOST_PARTS):
            part = await reader.next()
            if part is None:
                # Whatever still comes means nothing, but its time limit must not end work that has begun.
                while await content.readany():
                    pass
                return form
            await _read_part(form, part, max_file_bytes, share)
    except (ValueError, RuntimeError, AssertionError, LookupError, HttpProcessingError) as error:
        raise _malformed() from error
    raise MeshError(Code.INVALID_REQUEST, f"The form has more than {_MOST_PARTS} parts. Send fewer.")


async def _read_part(
    form: Form, part: aiohttp.BodyPartReader | aiohttp.MultipartReader, max_file_bytes: int, share: BodyShare
) -> None:
    if not isinstance(part, aiohttp.BodyPartReader) or not part.name or len(part.name) > _LONGEST_NAME:
        raise _malformed()
    if any(part.headers.get(name, "").strip().lower() not in plain for name, plain in _PLAIN_ENCODINGS.items()):
        raise MeshError(Code.INVALID_REQUEST, "The parts of the form must not be encoded. Send them as they are.")
    if part.name == "file":
        if form.file is not None:
            raise invalid("file", "The form has more than one 'file'. Send one recording per request.")
        form.file = await _read(part, max_file_bytes, share)
        if form.file is None:
            raise BodyTooLargeError(max_file_bytes)
        return
    name = part.name.removesuffix("[]")
    value = await _read(part, _LONGEST_FIELD, share)
    if value is None:
        raise invalid(name, f"A field of the form is longer than {_LONGEST_FIELD} bytes. Send a shorter value.")
    # Browsers and SDKs send fields that were not filled in so.
    if value:
        form.fields.setdefault(name, []).append(value.decode())


async def _read(part: aiohttp.BodyPartReader, limit: int, share: BodyShare) -> bytes | None:
    """Returns the content of a part, or None if it has more than `limit` bytes."""
    content = bytearray()
    while chunk := await part.read_chunk(_LONGEST_FIELD):
        if len(content) + len(chunk) > limit:
            return None
        share.take(len(chunk))
        content += chunk
    return bytes(content)


def _malformed() -> MeshError:
    message = (
        "The body is not valid multipart/form-data. Let your HTTP client make it, "
        "and the Content-Type with the boundary too."
    )
    return MeshError(Code.INVALID_REQUEST, message)
