"""Serves responses."""

from __future__ import annotations

import re

from aiohttp import web

from services.common.catalog import Model
from services.common.clock import Clock
from services.common.errors import Code, MeshError
from services.edge.authentication import Principal
from services.edge.chat.call import generate_call
from services.edge.chat.checks import check_chat_body
from services.edge.chat.images import load_images
from services.edge.chat.request import ChatBody
from services.edge.context import RequestContext
from services.edge.http.errors import unknown_url
from services.edge.paid.delivery import deliver_stream, deliver_whole
from services.edge.paid.path import Order, PaidPath
from services.edge.remote_images import ImageLoader
from services.edge.responses.request import parse_responses_body
from services.edge.responses.response import ResponseRenderer
from services.edge.responses.translation import translate
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
        content = await request.read()
        body = parse_responses_body(content)
        model = self._path.find_model(body.model, "chat", principal)
        translation = translate(body)
        renderer = ResponseRenderer(context.request_id.removeprefix("req_"), model.id, body, translation, self._clock)
        try:
            await check_chat_body(translation.chat, model, max_choices=1, size=len(content))
            order = await self._order(request, context, principal, model, translation.chat)
            async with self._path.open(order) as delivery:
                return await (
                    deliver_stream(delivery, renderer) if body.stream else deliver_whole(delivery, renderer.body)
                )
        except MeshError as error:
            raise translation.error(error) from None

    async def stored(self, request: web.Request, _context: RequestContext, _principal: Principal) -> web.Response:
        """Answers whatever asks for an earlier response; other URLs below are unknown."""
        if not _OF_STORED[request.method].fullmatch(request.match_info["tail"]):
            return unknown_url(request.method, request.path)
        message = "There is no such response: this service keeps none. Send the earlier items again in 'input'."
        raise MeshError(Code.NOT_FOUND, message)

    async def _order(
        self, request: web.Request, context: RequestContext, principal: Principal, model: Model, chat: ChatBody
    ) -> Order:
        images = await load_images(chat, self._images, principal.account_id)
        return Order(
            request=request,
            context=context,
            principal=principal,
            model=model,
            calls=[generate_call(chat, model, context.request_id, 0, images)],
            capabilities=("vision",) if images else (),
        )
