"""What aiohttp lacks: heads that come too slowly end the connection, and what is not HTTP gets a plain refusal.

aiohttp's own refusal quotes what it could not parse, which may be a key.
"""

from __future__ import annotations

import asyncio
import fcntl
import sys
import termios
from typing import cast

from aiohttp import web
from aiohttp.http_exceptions import ContentEncodingError

from services.common.errors import Code, MeshError
from services.common.telemetry.logs import get_logger
from services.edge.http.compression import unreadable_encoding
from services.edge.http.errors import error_response, malformed_http, respond

log = get_logger()
# What answers say of their server; aiohttp would name its own version and Python's.
SERVER_NAME = "tiermesh"


def _on_the_way(transport: asyncio.Transport | None) -> int:
    """Returns how many bytes the kernel keeps that the client's machine has not acknowledged; 0 if it does not tell.

    The kernel takes more of a response only when a large part of what it keeps has left, for which a slow reader may
    need minutes.
    """
    socket = transport.get_extra_info("socket") if transport is not None else None
    if socket is None:
        return 0
    try:
        kept = fcntl.ioctl(socket.fileno(), termios.TIOCOUTQ, bytes(4))
    except (OSError, ValueError):
        # It is no TCP connection, or has just been closed.
        return 0
    return int.from_bytes(kept, sys.byteorder)


class Connection(web.RequestHandler):
    """One connection."""

    __slots__ = ("_head_limit", "_head_seconds")

    def __init__(self, server: _Server, *, loop: asyncio.AbstractEventLoop, **options: object) -> None:
        super().__init__(server, loop=loop, **options)  # type: ignore[arg-type] # AppRunner passes them through
        self._head_seconds = server.head_seconds
        self._head_limit: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        """Whether no request is being handled or arriving."""
        waiter = self._waiter
        return waiter is not None and not waiter.done() and self._head_limit is None

    @property
    def unread_bytes(self) -> int:
        """Bytes that were written and that the client's side has not taken yet."""
        return self.transport.get_write_buffer_size() if self.transport is not None else 0

    @property
    def taken_bytes(self) -> int:
        """Bytes of the current response that the client's machine has taken: while it reads, this changes."""
        request, left = self._current_request, self.unread_bytes + _on_the_way(self.transport)
        return request.writer.output_size - left if request is not None else -left

    def data_received(self, data: bytes) -> None:
        """Takes bytes from the client; most heads come whole, so only the others need a timer."""
        super().data_received(data)
        waiter = self._waiter
        if waiter is None or waiter.done():
            self._forget_limit()
        elif self._head_limit is None:
            self._head_limit = self._loop.call_later(self._head_seconds, self._cut)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Ends the connection's timer with it."""
        self._forget_limit()
        super().connection_lost(exc)

    def _forget_limit(self) -> None:
        if self._head_limit is not None:
            self._head_limit.cancel()
            self._head_limit = None

    def _cut(self) -> None:
        """Ends a connection that has sent a part of a head and taken too long over the rest."""
        log.debug("head_too_slow")
        self._head_limit = None
        self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answers what the parser refused, and what no handler has caught; the connection is closed after it."""
        del message
        if request.writer.output_size > 0:
            raise ConnectionResetError("the response has begun, so no error can be sent")
        if status < 500:
            log.debug("http_malformed", reason=type(exc).__name__)
            # What aiohttp would undo if a library were there, such as brotli, does not get as far as a handler.
            unreadable = isinstance(exc, ContentEncodingError)
            response = error_response(unreadable_encoding()) if unreadable else respond(malformed_http())
        else:
            log.error("request_failed", exc_info=exc)
            response = error_response(MeshError(Code.INTERNAL, "An internal error happened."))
        response.headers["Server"] = SERVER_NAME
        response.force_close()
        return response


class _Server(web.Server):
    """Makes connections of that kind."""

    head_seconds: float

    def __call__(self) -> web.RequestHandler:
        return Connection(self, loop=self._loop, **self._kwargs)


class QuietRunner(web.AppRunner):
    """An AppRunner whose connections answer so. aiohttp has no setting for it."""

    __slots__ = ("_head_seconds",)

    def __init__(self, application: web.Application, *, head_seconds: float, **options: object) -> None:
        super().__init__(application, **options)  # type: ignore[arg-type] # options of AppRunner
        self._head_seconds = head_seconds

    async def _make_server(self) -> web.Server:
        server = cast("_Server", await super()._make_server())
        server.__class__ = _Server
        server.head_seconds = self._head_seconds
        return server
