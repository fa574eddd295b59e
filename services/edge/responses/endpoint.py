"""Serves responses."""

from __future__ import annotations

import re

from aiohttp import web

from services.common.clock import Clock
from services.common.errors import Code, MeshError
from services.edge.authentication import Principal
from services.edge.context import RequestContext
from services.edge.http.errors import respond, unknown_url
from services.edge.paid.delivery import deliver_stream, deliver_whole
from services.edge.paid.path import Order, PaidPath
from services.edge.remote_images import ImageLoader
from services.edge.responses.reading import read_request
from services.edge.responses.response import ResponseRenderer
from services.edge.responses.translation import FieldNames
from services.edge.settings import EdgeSettings

# What OpenAI serves of a stored response, by method.
_OF_STORED = {
    "GET": re.compile(r"[^/]+(/input_items)?"),
    "HEAD": re.compile(r"[^/]+(/input_items)?"),
    "DELETE": re.compile(r"[^/]+"),
    "POST": re.compile(r"[^/]+/cancel"),
}


class Responses:
    """Serves POST /v1/responses for requests whose key is good, as the chat completion that it amounts to."""

    def __init__(self, path: PaidPath, images: ImageLoader, settings: EdgeSettings, clock: Clock) -> None:
        self._path = path
        self._images = images
        self._settings = settings
        self._clock = clock

    async def serve(self, request: web.Request, context: RequestContext, principal: Principal) -> web.StreamResponse:
        """Answers one request; raises MeshError for anything that goes wrong before the first byte is sent."""
        order, renderer, names = await self._order(request, context, principal)
        try:
            async with self._path.open(order) as delivery:
                return await (
                    deliver_whole(delivery, renderer.body)
                    if order.calls[0].whole
                    else deliver_stream(delivery, renderer)
                )
        except MeshError as error:
            raise names.error(error) from None

    async def stored(self, request: web.Request, _context: RequestContext, _principal: Principal) -> web.Response:
        """Answers whatever asks for an earlier response; other URLs below are unknown."""
        if not _OF_STORED[request.method].fullmatch(request.match_info["tail"]):
            return respond(unknown_url(request.method, request.path))
        message = "There is no such response: this service keeps none. Send the earlier items again in 'input'."
        raise MeshError(Code.NOT_FOUND, message)

    async def compact(self, _request: web.Request, _context: RequestContext, _principal: Principal) -> web.Response:
        """Says that no conversation is made shorter here."""
        message = (
            "Compaction is not offered by this service. Send a shorter 'input', such as a summary of the earlier items."
        )
        raise MeshError(Code.NOT_FOUND, message)

    async def _order(
        self, request: web.Request, context: RequestContext, principal: Principal
    ) -> tuple[Order, ResponseRenderer, FieldNames]:
        read = await read_request(request, context, principal, self._path, self._images)
        renderer = ResponseRenderer(
            context.request_id.removeprefix("req_"), read.model.id, read.body, read.translation, self._clock
        )
        order = Order(
            request=request,
            context=context,
            principal=principal,
            model=read.model,
            calls=[read.call],
            capabilities=read.capabilities,
        )
        return order, renderer, read.translation.names
