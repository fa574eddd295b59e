"""Listens for HTTP and ends in good order."""

from __future__ import annotations

from aiohttp import web

from services.common.logs import get_logger
from services.edge.http_protocol import QuietRunner

log = get_logger()


class HttpServer:
    """Serves an application; a handler is cancelled the moment its client disconnects."""

    def __init__(self, listen: str, application: web.Application, *, drain_seconds: float) -> None:
        self._listen = listen
        self._runner = QuietRunner(
            application,
            handler_cancellation=True,
            access_log=None,
            keepalive_timeout=75.0,
            shutdown_timeout=drain_seconds,
        )

    async def start(self) -> None:
        """Binds the address; raises OSError if it is taken."""
        await self._runner.setup()
        host, _, port = self._listen.rpartition(":")
        self._site = web.TCPSite(self._runner, host.strip("[]"), int(port), backlog=1024)
        await self._site.start()
        log.info("listening", address=self._listen)

    async def stop(self) -> None:
        """Takes no new connections and gives running requests `drain_seconds` to finish."""
        await self._runner.cleanup()
        log.info("stopped", address=self._listen)
