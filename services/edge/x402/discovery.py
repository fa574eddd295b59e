"""Tells programs where wallets can pay: in the OpenAPI document, and at a well-known URL.

https://github.com/Merit-Systems/x402scan/blob/main/docs/DISCOVERY.md
"""

from __future__ import annotations

from typing import Any

from aiohttp import web
from msgspec import Struct

from services.common.catalog import Catalog, Kind
from services.edge.credits import dollars
from services.edge.http.parsing import json_response
from services.edge.images.request import MOST_IMAGES
from services.edge.route import Operation, PublicRoute, json_answer

# The endpoints that wallets can pay for, and the kind of models that each serves.
_KINDS: dict[str, Kind] = {
    "/chat/completions": "chat",
    "/completions": "chat",
    "/responses": "chat",
    "/messages": "chat",
    "/embeddings": "embedding",
    "/audio/speech": "speech",
    "/audio/transcriptions": "transcription",
    "/images/generations": "image",
}
_PREFIX = "/v1"


class PayableResources(Struct, frozen=True):
    """Where wallets can pay for requests."""

    version: int
    resources: list[str]
    openapi: str


class Discovery:
    """What the edge tells of the prices in a catalog, which may change."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def payment_info(self, path: str) -> dict[str, Any] | None:
        """Returns the member `x-payment-info` of an endpoint; None if nothing is sold there."""
        kind = _KINDS.get(path)
        prices = {model.price for model in self._catalog.models if model.kind == kind and model.price}
        if not prices:
            return None
        most = max(prices) * (MOST_IMAGES if kind == "image" else 1)
        if min(prices) == most:
            price = {"mode": "fixed", "currency": "USD", "amount": dollars(most)}
        else:
            price = {"mode": "dynamic", "currency": "USD", "min": dollars(min(prices)), "max": dollars(most)}
        return {"price": price, "protocols": [{"x402": {}}]}

    def route(self) -> PublicRoute:
        """Returns the route of the well-known URL."""
        example = PayableResources(1, ["https://api.example.com/v1/chat/completions"], "/openapi.json")
        operation = Operation(summary="List what wallets can pay for", tag="Service", answer=json_answer(example))
        return PublicRoute(path="/.well-known/x402", handler=self.serve, operation=operation, at_root=True)

    async def serve(self, request: web.Request) -> web.Response:
        """Answers the request."""
        base = f"{request.scheme}://{request.host}"
        sold = [f"{base}{_PREFIX}{path}" for path in _KINDS if self.payment_info(path) is not None]
        return json_response(PayableResources(1, sold, f"{base}/openapi.json"))
