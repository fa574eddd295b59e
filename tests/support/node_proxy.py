"""Stands between a watcher and its node, and has the node forget, lag, refuse or lie."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import web

# Gets a call and the node's reply to it, and returns the reply that the watcher gets.
Change = Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]


def honest(call: dict[str, Any], reply: dict[str, Any]) -> dict[str, Any]:
    """Changes nothing."""
    del call
    return reply


class NodeProxy:
    """One node behind a proxy; `async with` starts and stops it."""

    def __init__(self, node_url: str) -> None:
        self._node_url = node_url
        self.change: Change = honest
        # If it is set, every request is answered with this status and this body.
        self.instead: tuple[int, bytes] | None = None
        # Every call that was made.
        self.calls: list[dict[str, Any]] = []
        self.url = ""

    async def _serve(self, request: web.Request) -> web.Response:
        calls = json.loads(await request.read())
        self.calls += calls
        if self.instead is not None:
            status, body = self.instead
            return web.Response(status=status, body=body, content_type="application/json")
        async with self._session.post(self._node_url, json=calls) as response:
            replies = {reply["id"]: reply for reply in await response.json()}
        return web.json_response([self.change(call, replies[call["id"]]) for call in calls])

    async def __aenter__(self) -> Self:
        application = web.Application(client_max_size=1 << 26)
        application.router.add_post("/", self._serve)
        self._session = aiohttp.ClientSession()
        self._runner = web.AppRunner(application)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()
        await self._runner.cleanup()
