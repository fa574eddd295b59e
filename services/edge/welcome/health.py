"""GET /health: what load balancers ask, and what benchmarks written for vLLM ask before they start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from aiohttp import web
from msgspec import Struct

from services.common.errors import Code, MeshError
from services.edge.http.parsing import json_response


class HealthBody(Struct, frozen=True):
    """That this server takes requests."""

    status: Literal["ok"] = "ok"


class Health:
    """Answers by `ready`, which tells whether this server takes requests and reaches what it needs for them."""

    def __init__(self, ready: Callable[[], bool]) -> None:
        self._ready = ready

    async def serve(self, _request: web.Request) -> web.Response:
        """Answers the request; raises MeshError UNAVAILABLE if requests should go to another server."""
        if not self._ready():
            message = "This server starts, stops, or cannot reach a part of the service. Try again shortly."
            raise MeshError(Code.UNAVAILABLE, message)
        return json_response(HealthBody())
