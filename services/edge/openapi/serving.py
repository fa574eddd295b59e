"""Serves GET /openapi.json, which needs no key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
        """`payment_info` has the prices of the moment, with which the document changes."""
        self.route = PublicRoute(path="/openapi.json", handler=self.serve, operation=_OPERATION, at_root=True)
        self._routes = (*routes, self.route)
        self._payment_info = payment_info
        # The prices, and the document with them.
        self._built: tuple[dict[str, dict[str, Any] | None], bytes] | None = None

    async def serve(self, request: web.Request) -> web.Response:
        """Answers the request."""
        response = web.Response(body=self._content(), content_type="application/json")
        compress(request, response)
        return response

    def _content(self) -> bytes:
        info = self._payment_info
        prices = {} if info is None else {route.path: info(route.path) for route in self._routes}
        if self._built is None or self._built[0] != prices:
            self._built = prices, build_document(self._routes, prices.get)
        return self._built[1]
