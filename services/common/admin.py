"""The operator's HTTP face of every process: /metrics, /healthz and /readyz."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web
from prometheus_client import REGISTRY, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

Check = Callable[[], bool]


def always() -> bool:
    """The check that never fails."""
    return True


class AdminServer:
    """Answers /healthz by `healthy` (replace the process if it fails) and /readyz by `ready` (send no traffic)."""

    def __init__(self, listen: str, *, ready: Check = always, healthy: Check = always) -> None:
        self._listen = listen
        self._ready = ready
        self._healthy = healthy
        self.address = listen

    async def start(self) -> None:
        """Binds the address; raises OSError if it is taken."""
        app = web.Application()
        app.router.add_get("/metrics", self._get_metrics)
        app.router.add_get("/healthz", self._get_health)
        app.router.add_get("/readyz", self._get_readiness)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        host, _, port = self._listen.rpartition(":")
        site = web.TCPSite(self._runner, host.strip("[]"), int(port))
        try:
            await site.start()
        except OSError:
            await self._runner.cleanup()
            raise
        self.address = f"{host}:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Closes the port."""
        await self._runner.cleanup()

    async def _get_metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _get_health(self, _: web.Request) -> web.Response:
        return _answer(self._healthy())

    async def _get_readiness(self, _: web.Request) -> web.Response:
        return _answer(self._ready())


def _answer(good: bool) -> web.Response:
    return web.Response(text="ok\n") if good else web.Response(status=503, text="not ready\n")
