"""Server-sent events to one client, bounded: a client that does not read is cut off, never its neighbours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from aiohttp import HttpVersion11, web

from services.edge.http.gathering import Gathering
from services.edge.http.keep_alive import COMMENT, KeepAlive, write_now

# JSON may hold these characters as they are, but readers that split lines as Unicode says end a line at each of them.
_LINE_ENDS = {character.encode(): b"\\u%04x" % ord(character) for character in "\x85\u2028\u2029"}


def in_lines(events: bytes) -> bytes:
    """Returns events of JSON with every line end of Unicode in them escaped, so that each `data` is one line.

    JSON itself escapes the others, which are control characters of ASCII.
    """
    # Most events are ASCII, for which this costs some 20 ns.
    if not events.isascii():
        for character, escape in _LINE_ENDS.items():
            events = events.replace(character, escape)
    return events


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


class EventStream:
    """An HTTP response of events that are written piece by piece; each `data` of theirs is JSON.

    Comments, or other events for `keep_alive`, come within `keep_alive_seconds` of any silence, until it is closed or
    stopped.
    """

    def __init__(
        self,
        request: web.Request,
        headers: Mapping[str, str],
        *,
        max_unread_bytes: int,
        keep_alive_seconds: float,
        keep_alive: bytes = COMMENT,
        note: Callable[[bytes], None] | None = None,
        gathering: Gathering | None = None,
    ) -> None:
        """`note` is given all bytes of the body in their order, except those that close it.

        With the `gathering` of its event loop, events leave in fewer writes while the loop is behind.
        """
        self.response = streamed_response(request, headers, "text/event-stream")
        self._request = request
        self._max_unread_bytes = max_unread_bytes
        self._keep_alive = KeepAlive(request, self.response, keep_alive_seconds, keep_alive, note)
        self._note = note
        self._gathering = gathering if gathering is not None else Gathering()
        # Events that wait for those that follow.
        self._waiting: list[bytes] = []

    async def open(self, first: bytes) -> None:
        """Sends the status line, the headers and the first events; raises ConnectionError if the client is gone."""
        await self.response.prepare(self._request)
        transport = self._request.transport
        if transport is None:
            raise ConnectionResetError("the client has left")
        # Below the bound a write never waits, so a slow client does not slow its own generation down either.
        transport.set_write_buffer_limits(high=self._max_unread_bytes)
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._writer = self._request.writer
        self._chunked = self.response.chunked
        # aiohttp holds the headers back until the first write, so that one must be its own.
        first = in_lines(first)
        if self._note is not None:
            self._note(first)
        await self.response.write(first)
        self._keep_alive.start()

    def write(self, data: bytes) -> None:
        """Sends complete events without waiting; this runs for every token, so it spares aiohttp's dozen steps.

        Events may have any size: only what the client had left unread before counts against the bound. A client that is
        gone, or that is cut off here because it does not read, is nobody's error: aiohttp cancels the handler of the
        request.
        """
        gathering = self._gathering
        if gathering.waits:
            gathering.came = True
            if not self._waiting:
                gathering.add(self)
            self._waiting.append(data)
            return
        # All tokens of a turn come at the same time of the loop's clock, so this is noted once a turn.
        now = self._loop.time()
        if now != gathering.written_at:
            gathering.note(now)
        self._write(data)

    def flush(self) -> None:
        """Sends what waits, in one write."""
        if self._waiting:
            data = b"".join(self._waiting)
            self._waiting.clear()
            self._write(data)

    def _write(self, data: bytes) -> None:
        transport = self._transport
        if transport.get_write_buffer_size() > self._max_unread_bytes:
            transport.abort()
        if not data.isascii():
            data = in_lines(data)
        if self._note is not None:
            self._note(data)
        write_now(transport, self._writer, chunked=self._chunked, data=data)

    async def close(self, last: bytes = b"") -> None:
        """Ends the response with its last events, which are sent whatever is unread: they may have been paid for.

        The connection stays usable for the next request.
        """
        self.stop()
        self._send(last)
        await self.response.write_eof()

    def stop(self) -> None:
        """Sends what waits, and no comments any more: nothing may be written into the next response."""
        self._keep_alive.stop()
        self.flush()

    def _send(self, data: bytes) -> None:
        write_now(self._transport, self._writer, chunked=self._chunked, data=in_lines(data))
