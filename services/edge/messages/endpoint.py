"""Serves messages."""

from __future__ import annotations

from aiohttp import web

from services.common.errors import Code, MeshError
from services.edge.authentication import Principal
from services.edge.context import RequestContext
from services.edge.messages.reading import ConversationReader
from services.edge.messages.request import MessagesBody
from services.edge.messages.response import PING, MessageRenderer
from services.edge.paid.delivery import deliver_stream, deliver_whole
from services.edge.paid.path import Order, PaidPath


class Messages:
    """Serves POST /v1/messages for requests whose key is good, as the chat completion that it amounts to."""

    def __init__(self, path: PaidPath, reader: ConversationReader[MessagesBody]) -> None:
        self._path = path
        self._reader = reader

    async def serve(self, request: web.Request, context: RequestContext, principal: Principal) -> web.StreamResponse:
        """Answers one request; raises MeshError for anything that goes wrong before the first byte is sent."""
        read = await self._reader.read(request, context, principal)
        renderer = MessageRenderer(
            context.request_id, read.model.id, read.names, read.thoughts, thoughts_shown=read.body.thoughts_shown
        )
        order = Order(
            request=request,
            context=context,
            principal=principal,
            model=read.model,
            calls=[read.call],
            capabilities=read.capabilities,
        )
        names, stream = read.names, read.body.stream
        # The path keeps what it needs of the request, which may be large.
        del read
        try:
            async with self._path.open(order) as delivery:
                if not stream:
                    return await deliver_whole(delivery, renderer.body)
                return await deliver_stream(delivery, renderer, keep_alive=PING)
        except MeshError as error:
            raise names.error(error) from None

    async def unknown(self, request: web.Request, _context: RequestContext, _principal: Principal) -> web.Response:
        """Answers whatever asks for something below, such as batches, of which there are none."""
        message = f"There is no {request.path}: this service answers messages one by one. Send them to /v1/messages."
        raise MeshError(Code.NOT_FOUND, message)
