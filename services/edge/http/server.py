"""Listens for HTTP and ends in good order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator

from aiohttp import web

from services.common.telemetry.logs import get_logger
from services.edge.http.protocol import Connection, QuietRunner
from services.edge.http.stalled_readers import StalledReaders

log = get_logger()

# How long an idle connection stays open, in seconds. Clients that pool connections give them up earlier: proxies often
# after 60 s.
KEEP_ALIVE_SECONDS = 75.0
# How long it stays open in a drain that has no time for that, in seconds: its client may be sending the next request.
_HURRIED_IDLE_SECONDS = 1.0
_LOOK_SECONDS = 0.05
# How long answers that are cut off may take to tell their clients, in seconds.
_LAST_SECONDS = 2.0
# How long handlers that were told to stop may take to do it, in seconds.
_CANCEL_SECONDS = 1.0


class HttpServer:
    """Serves an application; a handler is cancelled the moment its client disconnects.

    A client may take `head_seconds` to send the head of a request, and, while `cut_stalled_readers` runs, read nothing
    for `unread_seconds`. `cut_off` ends the requests that are in progress when the time to finish them is over.
    """

    def __init__(
        self,
        listen: str,
        application: web.Application,
        *,
        head_seconds: float,
        unread_seconds: float,
        cut_off: Callable[[], None] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._listen = listen
        self._monotonic = monotonic
        self._cut_off = cut_off
        self._draining = False
        application.on_response_prepare.append(self._announce_end)
        self._runner = QuietRunner(
            application,
            handler_cancellation=True,
            access_log=None,
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            shutdown_timeout=_CANCEL_SECONDS,
            head_seconds=head_seconds,
        )
        self._readers = StalledReaders(self._connections, unread_seconds)

    async def start(self) -> None:
        """Binds the address; raises OSError if it is taken."""
        await self._runner.setup()
        host, _, port = self._listen.rpartition(":")
        self._site = web.TCPSite(self._runner, host.strip("[]"), int(port), backlog=1024)
        await self._site.start()
        log.info("listening", address=self._listen)

    async def cut_stalled_readers(self) -> None:
        """Cuts off the clients that read nothing, until cancelled."""
        await self._readers.run()

    async def stop(self, drain_seconds: float) -> None:
        """Takes no new connections and gives running requests `drain_seconds` to finish.

        Those that still come on open connections are answered, with `Connection: close`: so no client loses a request
        because it used a connection at the moment of its end. A drain of 150 s or more closes idle connections only
        when their clients have given them up.
        """
        self._draining = True
        patient = drain_seconds >= 2 * KEEP_ALIVE_SECONDS
        await self._site.stop()
        await self._finish_connections(drain_seconds, KEEP_ALIVE_SECONDS if patient else _HURRIED_IDLE_SECONDS)
        self._cut_off()
        await self._finish_connections(_LAST_SECONDS, _HURRIED_IDLE_SECONDS)
        await self._runner.cleanup()
        log.info("stopped", address=self._listen)

    @property
    def port(self) -> int:
        """The port that was bound, also if any was asked for."""
        return int(self._runner.addresses[0][1])

    async def _announce_end(self, _request: web.BaseRequest, response: web.StreamResponse) -> None:
        if self._draining:
            response.force_close()
            response.headers["Connection"] = "close"

    async def _finish_connections(self, seconds: float, idle_seconds: float) -> None:
        """Waits until every connection is closed, at most `seconds`, and closes those that stay idle."""
        deadline = self._monotonic() + seconds
        idle_since: dict[Connection, float] = {}
        while (connections := list(self._connections())) and (now := self._monotonic()) < deadline:
            idle_since = {one: idle_since.get(one, now) for one in connections if one.idle}
            for connection, since in idle_since.items():
                if now - since >= idle_seconds:
                    connection.force_close()
            await asyncio.sleep(_LOOK_SECONDS)

    def _connections(self) -> Iterator[Connection]:
        server = self._runner.server
        for connection in server.connections if server is not None else ():
            if isinstance(connection, Connection):
                yield connection
