"""Sends a comment, or an event that says nothing, whenever a stream of events is silent.

So neither proxies nor clients give its connection up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

# Clients ignore it.
COMMENT = b": keep-alive\n\n"


def write_now(transport: asyncio.Transport, writer: AbstractStreamWriter, *, chunked: bool, data: bytes) -> None:
    """Writes bytes of a response's body that has begun, without waiting; nothing if the client is gone."""
    # Nothing is not sent: a chunk without bytes is what ends a body.
    if not data or transport.is_closing():
        return
    if chunked:
        data = b"%x\r\n%b\r\n" % (len(data), data)
    # aiohttp's own count knows only what it has written itself.
    writer.output_size += len(data)
    transport.write(data)


class KeepAlive:
    """Breaks every silence of one response within `seconds`, once it has begun and until it is stopped.

    It looks twice in that time whether anything was sent since, so that sending itself costs nothing more.
    """

    def __init__(
        self,
        request: web.Request,
        response: web.StreamResponse,
        seconds: float,
        content: bytes = COMMENT,
        note: Callable[[bytes], None] | None = None,
    ) -> None:
        """`note` is given whatever is sent."""
        self._request = request
        self._response = response
        self._interval = seconds / 2
        self._content = content
        self._note = note
        self._sent = 0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begins to look; the first bytes of the body have been sent."""
        self._sent = self._request.writer.output_size
        self._timer = asyncio.get_running_loop().call_later(self._interval, self._look)

    def stop(self) -> None:
        """Ends it, before the end of the body is sent; idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        transport, writer = self._request.transport, self._request.writer
        if transport is None:
            return
        # What a client has left unread will reach it without a comment.
        if writer.output_size == self._sent and not transport.get_write_buffer_size():
            if self._note is not None:
                self._note(self._content)
            write_now(transport, writer, chunked=self._response.chunked, data=self._content)
        self.start()
