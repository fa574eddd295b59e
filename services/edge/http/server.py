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

# How long a connection stays open while draining, in seconds, if its last response did not say that it would be closed:
# its client may be sending the next request.
IDLE_SECONDS = 1.0
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
    ) -> None:
        self._listen = listen
        self._cut_off = cut_off
        self._draining = False
        application.on_response_prepare.append(self._announce_end)
        self._runner = QuietRunner(
            application,
            handler_cancellation=True,
            access_log=None,
            keepalive_timeout=75.0,
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
        because it used a connection at the moment of its end.
        """
        self._draining = True
        await self._site.stop()
        await self._finish_connections(drain_seconds)
        self._cut_off()
        await self._finish_connections(_LAST_SECONDS)
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

    async def _finish_connections(self, seconds: float) -> None:
        """Waits until every connection is closed, at most `seconds`, and closes those that stay idle."""
        deadline = time.monotonic() + seconds
        idle_since: dict[Connection, float] = {}
        while (connections := list(self._connections())) and (now := time.monotonic()) < deadline:
            idle_since = {one: idle_since.get(one, now) for one in connections if one.idle}
            for connection, since in idle_since.items():
                if now - since >= IDLE_SECONDS:
                    connection.force_close()
            await asyncio.sleep(_LOOK_SECONDS)

    def _connections(self) -> Iterator[Connection]:
        server = self._runner.server
        for connection in server.connections if server is not None else ():
            if isinstance(connection, Connection):
                yield connection
