"""Serves responses."""

from __future__ import annotations

import re

from aiohttp import web

from services.common.clock import Clock
from services.common.errors import Code, MeshError
from services.edge.authentication import Principal
from services.edge.chat.checks import check_chat_body
from services.edge.chat.images import call_with_images
from services.edge.context import RequestContext
from services.edge.http.errors import respond, unknown_url
from services.edge.http.incoming_body import BODY, read_json
from services.edge.paid.delivery import deliver_stream, deliver_whole
from services.edge.paid.path import Order, PaidPath
from services.edge.remote_images import ImageLoader
from services.edge.responses.request import parse_responses_body
from services.edge.responses.response import ResponseRenderer
from services.edge.responses.translation import FieldNames, translate
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

    async def _order(
        self, request: web.Request, context: RequestContext, principal: Principal
    ) -> tuple[Order, ResponseRenderer, FieldNames]:
        """Reads the body, which is in memory no longer than this takes: the call that is made of it stays."""
        content = await read_json(request, images=True)
        body = parse_responses_body(content)
        model = self._path.find_model(body.model, "chat", principal)
        translation = translate(body)
        renderer = ResponseRenderer(
            context.request_id.removeprefix("req_"), model.id, body, translation.names, self._clock
        )
        size = len(content)
        del content
        try:
            await check_chat_body(translation.chat, model, max_choices=1, size=size)
            call, capabilities = await call_with_images(
                translation.chat, model, context.request_id, self._images, request[BODY].share
            )
        except MeshError as error:
            raise translation.names.error(error) from None
        order = Order(
            request=request,
            context=context,
            principal=principal,
            model=model,
            calls=[call],
            capabilities=capabilities,
        )
        return order, renderer, translation.names
