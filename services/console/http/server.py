"""Listens for browsers and ends in good order."""

from __future__ import annotations

from aiohttp import web

from services.common.http.timed_heads import TimedRunner
from services.common.telemetry.logs import get_logger

log = get_logger()

# How long an idle connection stays open, in seconds: longer than proxies keep theirs.
_KEEP_ALIVE_SECONDS = 75.0


class HttpServer:
    """Serves an application; a client may take `head_seconds` to send the head of a request.

    A drain waits for the pages that are being made, and for answers of the playground as long as it can.
    """

    def __init__(self, listen: str, application: web.Application, drain_seconds: float, *, head_seconds: float) -> None:
        self._listen = listen
        self._runner = TimedRunner(
            application,
            head_seconds=head_seconds,
            access_log=None,
            handler_cancellation=True,
            keepalive_timeout=_KEEP_ALIVE_SECONDS,
            shutdown_timeout=drain_seconds,
        )

    async def start(self) -> None:
        """Binds the address; raises OSError if it is taken."""
        await self._runner.setup()
        host, _, port = self._listen.rpartition(":")
        await web.TCPSite(self._runner, host.strip("[]"), int(port)).start()
        log.info("listening", address=self._listen)

    async def stop(self) -> None:
        """Takes no new connections, lets requests finish, and closes."""
        await self._runner.cleanup()
        log.info("stopped", address=self._listen)
