"""Serves GET /openapi.json, which needs no key."""

from __future__ import annotations

from functools import cached_property

from aiohttp import web

from services.edge.http.compression import compress
from services.edge.openapi.document import build_document


class Document:
    """The document of an application; it is built when it is first asked for, since most edges never are."""

    def __init__(self, application: web.Application) -> None:
        self._application = application

    async def serve(self, request: web.Request) -> web.Response:
        """Answers the request."""
        response = web.Response(body=self._content, content_type="application/json")
        compress(request, response)
        return response

    @cached_property
    def _content(self) -> bytes:
        return build_document(registered_routes(self._application))


def registered_routes(application: web.Application) -> list[tuple[str, str]]:
    """Returns the method and the path of each route, `{name}` standing for a part of the path."""
    return [
        (route.method, route.resource.canonical)
        for route in application.router.routes()
        if route.resource is not None and route.method not in {"*", "HEAD"}
    ]
