"""Serves embeddings."""

from __future__ import annotations

from functools import partial

from aiohttp import web

from services.edge.authentication import Principal
from services.edge.context import RequestContext
from services.edge.embeddings.request import embeddings_call, embeddings_decoder
from services.edge.embeddings.response import embeddings_body
from services.edge.http.bodies.incoming import read_json
from services.edge.http.parsing import parse_body
from services.edge.paid.delivery import deliver_whole
from services.edge.paid.path import Order, PaidPath


class Embeddings:
    """Serves POST /v1/embeddings for requests whose key is good. All inputs of a request share one price."""

    def __init__(self, path: PaidPath) -> None:
        self._path = path

    async def serve(self, request: web.Request, context: RequestContext, principal: Principal) -> web.StreamResponse:
        """Answers one request; raises MeshError for anything that goes wrong."""
        order, as_base64 = await self._order(request, context, principal)
        async with self._path.open(order) as delivery:
            return await deliver_whole(delivery, partial(embeddings_body, order.model.id, as_base64=as_base64))

    async def _order(self, request: web.Request, context: RequestContext, principal: Principal) -> tuple[Order, bool]:
        """Reads the body, which is in memory no longer than this takes, and whether vectors are sent as base64."""
        body = parse_body(await read_json(request), embeddings_decoder)
        model = self._path.find_model(body.model, "embedding", principal)
        order = Order(
            request=request,
            context=context,
            principal=principal,
            model=model,
            calls=[embeddings_call(body, model, context.request_id)],
        )
        return order, body.encoding_format == "base64"
