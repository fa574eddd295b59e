"""What aiohttp lacks: what is not HTTP gets a plain refusal, and connections tell what their clients have taken.

aiohttp's own refusal quotes what it could not parse, which may be a key.
"""

from __future__ import annotations

import asyncio
import fcntl
import sys
import termios

from aiohttp import web
from aiohttp.http_exceptions import ContentEncodingError

from services.common.errors import Code, MeshError
from services.common.http.timed_heads import TimedConnection, TimedRunner
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


class Connection(TimedConnection):
    """One connection."""

    __slots__ = ()

    @property
    def idle(self) -> bool:
        """Whether no request is being handled or arriving."""
        waiter = self._waiter
        return waiter is not None and not waiter.done() and not self.head_arriving

    @property
    def unread_bytes(self) -> int:
        """Bytes that were written and that the client's side has not taken yet."""
        return self.transport.get_write_buffer_size() if self.transport is not None else 0

    @property
    def taken_bytes(self) -> int:
        """Bytes of the current response that the client's machine has taken: while it reads, this changes."""
        request, left = self._current_request, self.unread_bytes + _on_the_way(self.transport)
        return request.writer.output_size - left if request is not None else -left

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


class QuietRunner(TimedRunner):
    """An AppRunner whose connections answer so."""

    __slots__ = ()
    connection = Connection
