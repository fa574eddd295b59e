"""Reads a request of the Responses API as the chat that it amounts to."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from services.common.catalog import Model
from services.common.errors import MeshError
from services.edge.authentication import Principal
from services.edge.chat.checks import check_chat_body
from services.edge.chat.images import call_with_images
from services.edge.context import RequestContext
from services.edge.http.bodies.incoming import BODY, read_json
from services.edge.paid.path import PaidPath
from services.edge.remote_images import ImageLoader
from services.edge.responses.request import ResponsesBody, parse_responses_body
from services.edge.responses.translation import Translation, translate
from tiermesh.runner.v1 import runner_pb2


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """A request that is valid, with its images fetched."""

    body: ResponsesBody
    model: Model
    translation: Translation
    call: runner_pb2.GenerateCall
    # What its runner must be able to do.
    capabilities: tuple[str, ...]


async def read_request(
    request: web.Request, context: RequestContext, principal: Principal, path: PaidPath, images: ImageLoader
) -> ReadRequest:
    """Reads the body, which is in memory no longer than this takes: the call that is made of it stays.

    Raises MeshError, about the fields of the Responses API.
    """
    content = await read_json(request, images=True)
    body = parse_responses_body(content)
    model = path.find_model(body.model, "chat", principal)
    translation = translate(body)
    size = len(content)
    del content
    try:
        await check_chat_body(translation.chat, model, max_choices=1, size=size)
        call, capabilities = await call_with_images(
            translation.chat, model, context.request_id, images, request[BODY].share
        )
    except MeshError as error:
        raise translation.names.error(error) from None
    return ReadRequest(body, model, translation, call, capabilities)
