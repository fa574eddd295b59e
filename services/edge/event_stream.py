"""Server-sent events to one client, bounded: a client that does not read is cut off, never its neighbours."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web


class EventStream:
    """An HTTP response that is written piece by piece. Writing raises ConnectionError once the client is gone."""

    def __init__(self, request: web.Request, headers: Mapping[str, str], max_unread_bytes: int) -> None:
        self.response = web.StreamResponse(headers=headers)
        self.response.content_type = "text/event-stream"
        self.response.headers["Cache-Control"] = "no-cache"
        # Asks nginx and those that learned from it not to hold the stream back.
        self.response.headers["X-Accel-Buffering"] = "no"
        self._request = request
        self._max_unread_bytes = max_unread_bytes
        self._headers_sent = False

    async def open(self) -> None:
        """Sends the status line and headers."""
        await self.response.prepare(self._request)
        transport = self._request.transport
        if transport is None:
            raise ConnectionResetError("the client has left")
        # Below the bound a write never waits, so a slow client does not slow its own generation down either.
        transport.set_write_buffer_limits(high=self._max_unread_bytes)
        self._transport = transport

    async def send(self, data: bytes) -> None:
        """Sends complete events."""
        if self._transport.is_closing():
            raise ConnectionResetError("the client has left")
        if self._transport.get_write_buffer_size() + len(data) > self._max_unread_bytes:
            self._transport.abort()
            raise ConnectionResetError("the client reads too slowly")
        if self._headers_sent and self.response.chunked:
            # What aiohttp's own write does, without its dozen steps: this line runs for every token.
            self._transport.write(b"%x\r\n%b\r\n" % (len(data), data))
            return
        # aiohttp holds the headers back until the first write.
        await self.response.write(data)
        self._headers_sent = True

    async def close(self) -> None:
        """Ends the response; the connection stays usable for the next request."""
        await self.response.write_eof()
