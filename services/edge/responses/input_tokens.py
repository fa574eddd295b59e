"""Serves the token counts of requests of the Responses API."""

from __future__ import annotations

from typing import Literal

from aiohttp import web
from msgspec import Struct

from services.common.errors import MeshError
from services.edge.authentication import Principal
from services.edge.context import RequestContext
from services.edge.http.parsing import json_response
from services.edge.paid.path import PaidPath
from services.edge.remote_images import ImageLoader
from services.edge.responses.reading import read_request
from services.edge.token_counts.counter import TokenCounter


class InputTokensBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The `usage.input_tokens` of the response that the same body would get."""

    object: Literal["response.input_tokens"]
    input_tokens: int


class InputTokensEndpoint:
    """Serves POST /v1/responses/input_tokens for requests whose key is good."""

    def __init__(self, path: PaidPath, images: ImageLoader, counter: TokenCounter) -> None:
        self._path = path
        self._images = images
        self._counter = counter

    async def serve(self, request: web.Request, context: RequestContext, principal: Principal) -> web.Response:
        """Answers one request; raises MeshError."""
        read = await read_request(request, context, principal, self._path, self._images)
        names = read.translation.names
        counting = self._counter.count(read.call, read.model, principal, context, read.capabilities)
        # The body may be large, and the call has what is needed of it.
        del read
        try:
            found = await counting
        except MeshError as error:
            raise names.error(error) from None
        return json_response(InputTokensBody("response.input_tokens", found.tokens))
