"""Serves GET /openapi.json, which needs no key."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from aiohttp import web

from services.edge.http.compression import compress
from services.edge.openapi.document import PaymentInfo, build_document
from services.edge.route import AnyRoute, Content, Operation, PublicRoute

_OPERATION = Operation(
    summary="Return this document",
    tag="Document",
    answer={"application/json": Content(schema={"type": "object"})},
)


class Document:
    """The document about some routes and itself; it is built when it is first asked for, since most edges never are."""

    def __init__(self, routes: Sequence[AnyRoute], payment_info: PaymentInfo | None = None) -> None:
        """`payment_info` has the prices of the moment when it is built."""
        self.route = PublicRoute(path="/openapi.json", handler=self.serve, operation=_OPERATION, at_root=True)
        self._routes = (*routes, self.route)
        self._payment_info = payment_info

    async def serve(self, request: web.Request) -> web.Response:
        """Answers the request."""
        response = web.Response(body=self._content, content_type="application/json")
        compress(request, response)
        return response

    @cached_property
    def _content(self) -> bytes:
        return build_document(self._routes, self._payment_info)
