"""Reads a request of the Messages API as far as the call for a runner."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from aiohttp import web
from msgspec.json import Decoder

from services.common.catalog import Model
from services.common.errors import MeshError
from services.edge.authentication import Principal
from services.edge.chat.checks import check_chat_body
from services.edge.chat.images import call_with_images
from services.edge.context import RequestContext
from services.edge.http.bodies.incoming import BODY, read_json
from services.edge.messages.field_names import FieldNames
from services.edge.messages.request import ConversationBody, parse_conversation
from services.edge.messages.thoughts import ThoughtKey, ThoughtSigner
from services.edge.messages.translation import Translation
from services.edge.paid.path import PaidPath
from services.edge.remote_images import ImageLoader
from tiermesh.runner.v1 import runner_pb2

BodyT = TypeVar("BodyT", bound=ConversationBody)


class ReadRequest(NamedTuple, Generic[BodyT]):
    """What a request asks, checked: its body, and the call that it amounts to."""

    body: BodyT
    model: Model
    thoughts: ThoughtSigner
    names: FieldNames
    call: runner_pb2.GenerateCall
    # What the runner must be able to do.
    capabilities: tuple[str, ...]


class ConversationReader(Generic[BodyT]):
    """Reads the bodies of one route: `decoder` has their type, and `translate` makes chat completions of them."""

    def __init__(
        self,
        path: PaidPath,
        images: ImageLoader,
        key: ThoughtKey,
        decoder: Decoder[BodyT],
        translate: Callable[[BodyT, ThoughtSigner], Translation],
    ) -> None:
        self._path = path
        self._images = images
        self._key = key
        self._decoder = decoder
        self._translate = translate

    async def read(self, request: web.Request, context: RequestContext, principal: Principal) -> ReadRequest[BodyT]:
        """Reads a body, which is in memory no longer than this takes: the call that is made of it stays.

        Raises MeshError if it is wrong, or names a model that there is not.
        """
        content = await read_json(request, images=True)
        body = parse_conversation(content, self._decoder)
        model = self._path.find_model(body.model, "chat", principal)
        thoughts = self._key.signer(principal.account_id, model.id)
        chat, names = self._translate(body, thoughts)
        size = len(content)
        del content
        try:
            await check_chat_body(chat, model, max_choices=1, size=size)
            call, capabilities = await call_with_images(
                chat, model, context.request_id, self._images, request[BODY].share
            )
        except MeshError as error:
            raise names.error(error) from None
        return ReadRequest(body, model, thoughts, names, call, capabilities)
