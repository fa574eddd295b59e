"""Serves the token counts of conversations in the form of the Messages API."""

from __future__ import annotations

from aiohttp import web
from msgspec import Struct

from services.common.errors import MeshError
from services.edge.authentication import Principal
from services.edge.context import RequestContext
from services.edge.http.parsing import json_response
from services.edge.messages.reading import ConversationReader
from services.edge.messages.request import ConversationBody
from services.edge.token_counts.counter import TokenCounter


class MessageTokensCount(Struct, frozen=True, forbid_unknown_fields=True):
    """The input tokens of the answer to the same conversation, cached ones included."""

    input_tokens: int


class MessageTokens:
    """Serves POST /v1/messages/count_tokens for requests whose key is good."""

    def __init__(self, reader: ConversationReader[ConversationBody], counter: TokenCounter) -> None:
        self._reader = reader
        self._counter = counter

    async def serve(self, request: web.Request, context: RequestContext, principal: Principal) -> web.Response:
        """Answers one request; raises MeshError."""
        read = await self._reader.read(request, context, principal)
        names = read.names
        counting = self._counter.count(read.call, read.model, principal, context, read.capabilities)
        # The body may be large, and the call has what is needed of it.
        del read
        try:
            found = await counting
        except MeshError as error:
            raise names.error(error) from None
        return json_response(MessageTokensCount(found.tokens))
