"""Serves chat completions: authenticate → price → route → reserve → generate → settle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web

from services.common.catalog import Catalog, Model
from services.common.clock import Clock
from services.common.errors import Code, MeshError
from services.edge.answer import Answer
from services.edge.authentication import Principal
from services.edge.chat_reply import ChatReply, stream_reply, whole_reply
from services.edge.chat_request import ChatBody, chat_decoder, check_chat
from services.edge.exchange import Exchange
from services.edge.generate_call import generate_call
from services.edge.idempotency import idempotency_key
from services.edge.parsing import parse_body
from services.edge.payment import Cashier
from services.edge.routing import Placement, Placer
from services.edge.runners import RunnerPool
from services.edge.scopes import check_model
from services.edge.settings import EdgeSettings


@dataclass(frozen=True, slots=True)
class Mesh:
    """What serving needs from behind the edge."""

    catalog: Catalog
    placer: Placer
    cashier: Cashier
    runners: RunnerPool


@dataclass(slots=True)
class RequestContext:
    """What is known of an HTTP request beside its body. `arrived` is in the monotonic clock's seconds."""

    request_id: str
    arrived: float
    # Headers that every response to this request carries.
    headers: dict[str, str] = field(default_factory=dict)


class Chat:
    """Serves POST /v1/chat/completions for requests whose key is good."""

    def __init__(self, mesh: Mesh, settings: EdgeSettings, *, clock: Clock, monotonic: Callable[[], float]) -> None:
        self._mesh = mesh
        self._settings = settings
        self._clock = clock
        self._monotonic = monotonic

    async def serve(self, request: web.Request, context: RequestContext, principal: Principal) -> web.StreamResponse:
        """Answers one request; raises MeshError for anything that goes wrong before the first byte is sent."""
        body, model = self._parse(await request.read(), principal)
        key = idempotency_key(request.headers, principal.account_id)
        # With an idempotency key the price is held first: a repeat must not wait for a slot, perhaps the very one that
        # the first request has, to be told that it is a repeat.
        placement = None if key else await self._place(model, principal)
        payment = await self._mesh.cashier.reserve(context.request_id, principal, model.id, key)
        async with Exchange(self._answer(context, model, principal), payment) as exchange:
            placement = placement or await self._place(model, principal)
            choices = range(body.n or 1)
            calls = [generate_call(body, model, context.request_id, choice) for choice in choices]
            exchange.answer.start(calls, placement)
            reply = ChatReply(
                request=request,
                headers=context.headers,
                body=body,
                model=model,
                exchange=exchange,
                completion_id="chatcmpl-" + context.request_id.removeprefix("req_"),
                created=int(self._clock()),
                elapsed=lambda: self._monotonic() - context.arrived,
            )
            if body.stream:
                return await stream_reply(reply, self._settings.max_unread_bytes)
            return await whole_reply(reply)

    async def _place(self, model: Model, principal: Principal) -> Placement:
        return await self._mesh.placer.place(model, principal.account_id, self._settings.queue_timeout)

    def _parse(self, content: bytes, principal: Principal) -> tuple[ChatBody, Model]:
        body = parse_body(content, chat_decoder)
        model = find_model(self._mesh.catalog, body.model)
        check_model(principal, model)
        check_chat(body, max_choices=self._settings.max_choices, vision="vision" in model.capabilities)
        return body, model

    def _answer(self, context: RequestContext, model: Model, principal: Principal) -> Answer:
        return Answer(
            model=model,
            account_id=principal.account_id,
            placer=self._mesh.placer,
            runners=self._mesh.runners,
            queue_timeout=self._settings.queue_timeout,
            deadline=context.arrived + self._settings.request_timeout,
            clock=self._monotonic,
        )


def find_model(catalog: Catalog, name: str) -> Model:
    """Returns the model of this id or alias; raises MeshError MODEL_NOT_FOUND, naming those that exist."""
    model = catalog.get(name)
    if model is None:
        known = ", ".join(model.id for model in catalog.models)
        message = f"The model {name[:100]!r} does not exist. Available models: {known}."
        raise MeshError(Code.MODEL_NOT_FOUND, message, param="model")
    return model
