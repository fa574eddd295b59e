"""What aiohttp lacks: heads that come too slowly end their connection."""

from __future__ import annotations

import asyncio
from typing import ClassVar, cast

from aiohttp import web

from services.common.telemetry.logs import get_logger

log = get_logger()


class TimedConnection(web.RequestHandler):
    """One connection."""

    __slots__ = ("_begun", "_head_limit", "_head_seconds")

    def __init__(self, server: _TimedServer, *, loop: asyncio.AbstractEventLoop, **options: object) -> None:
        super().__init__(server, loop=loop, **options)  # type: ignore[arg-type] # AppRunner passes them through
        self._begun = False
        self._head_seconds = server.head_seconds
        self._head_limit: asyncio.TimerHandle | None = None

    @property
    def head_arriving(self) -> bool:
        """Whether a part of a head has come and the rest has not."""
        return self._head_limit is not None

    def data_received(self, data: bytes) -> None:
        """Takes bytes from the client; most heads come whole, so only the others need a timer."""
        super().data_received(data)
        waiter = self._waiter
        self._begun = self._begun or waiter is not None or self._current_request is not None or bool(self._messages)
        # Before its task has begun, a new connection waits for nothing yet, and its first bytes may be all that come.
        if self._begun and (waiter is None or waiter.done()):
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


class _TimedServer(web.Server):
    """Makes connections of that kind."""

    connection: type[TimedConnection]
    head_seconds: float

    def __call__(self) -> web.RequestHandler:
        return self.connection(self, loop=self._loop, **self._kwargs)


class TimedRunner(web.AppRunner):
    """An AppRunner whose clients may take `head_seconds` to send a head. aiohttp has no setting for it."""

    __slots__ = ("_head_seconds",)
    # The kind of its connections.
    connection: ClassVar[type[TimedConnection]] = TimedConnection

    def __init__(self, application: web.Application, *, head_seconds: float, **options: object) -> None:
        super().__init__(application, **options)  # type: ignore[arg-type] # options of AppRunner
        self._head_seconds = head_seconds

    async def _make_server(self) -> web.Server:
        server = cast("_TimedServer", await super()._make_server())
        server.__class__ = _TimedServer
        server.connection = self.connection
        server.head_seconds = self._head_seconds
        return server
