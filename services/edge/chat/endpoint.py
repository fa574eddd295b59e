"""Serves chat completions."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from aiohttp import web

from services.common.catalog import Model
from services.common.clock import Clock
from services.edge.authentication import Principal
from services.edge.chat.checks import check_chat_body
from services.edge.chat.images import call_with_images
from services.edge.chat.request import ChatBody, chat_decoder
from services.edge.chat.response import ChunkRenderer, completion_body
from services.edge.context import RequestContext
from services.edge.http.bodies.incoming import BODY, read_json
from services.edge.http.parsing import parse_body
from services.edge.paid.delivery import deliver_stream, deliver_whole
from services.edge.paid.path import Order, PaidPath
from services.edge.remote_images import ImageLoader
from services.edge.settings import EdgeSettings


class _Shape(NamedTuple):
    """What the client wants to see of the answer."""

    stream: bool
    # At the end of a stream.
    usage: bool
    logprobs: bool
    custom_tools: frozenset[str]


class Chat:
    """Serves POST /v1/chat/completions for requests whose key is good."""

    def __init__(self, path: PaidPath, images: ImageLoader, settings: EdgeSettings, clock: Clock) -> None:
        self._path = path
        self._images = images
        self._settings = settings
        self._clock = clock

    async def serve(self, request: web.Request, context: RequestContext, principal: Principal) -> web.StreamResponse:
        """Answers one request; raises MeshError for anything that goes wrong before the first byte is sent."""
        order, shape = await self._order(request, context, principal)
        model, logprobs, custom_tools = order.model.id, shape.logprobs, shape.custom_tools
        completion_id = "chatcmpl-" + context.request_id.removeprefix("req_")
        created = int(self._clock())
        async with self._path.open(order) as delivery:
            if not shape.stream:
                return await deliver_whole(
                    delivery,
                    partial(
                        completion_body, completion_id, model, created, logprobs=logprobs, custom_tools=custom_tools
                    ),
                )
            renderer = ChunkRenderer(
                completion_id,
                model,
                created,
                choices=delivery.choices,
                usage=shape.usage,
                logprobs=logprobs,
                custom_tools=custom_tools,
            )
            return await deliver_stream(delivery, renderer)

    async def _order(self, request: web.Request, context: RequestContext, principal: Principal) -> tuple[Order, _Shape]:
        """Reads the body, which is in memory no longer than this takes: the call that is made of it stays."""
        body, model = await self._parse(await read_json(request, images=True), principal)
        # Before anything is placed or paid for: an image that cannot be had costs nothing.
        call, capabilities = await call_with_images(body, model, context.request_id, self._images, request[BODY].share)
        order = Order(
            request=request,
            context=context,
            principal=principal,
            model=model,
            calls=[call] * (body.n or 1),
            capabilities=capabilities,
        )
        return order, _Shape(bool(body.stream), body.include_usage, bool(body.logprobs), body.custom_tools)

    async def _parse(self, content: bytes, principal: Principal) -> tuple[ChatBody, Model]:
        body = parse_body(content, chat_decoder)
        model = self._path.find_model(body.model, "chat", principal)
        await check_chat_body(body, model, max_choices=self._settings.max_choices, size=len(content))
        return body, model
