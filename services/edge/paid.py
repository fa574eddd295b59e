"""The path of every paid request, whatever it asks for: price → route → reserve → generate; its reply settles."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from services.common.catalog import Catalog, Kind, Model
from services.common.errors import Code, MeshError
from services.edge.answer import Answer
from services.edge.authentication import Principal
from services.edge.context import RequestContext
from services.edge.exchange import Exchange
from services.edge.payment import Cashier
from services.edge.routing import Placement, Placer
from services.edge.runners import RunnerPool
from services.edge.scopes import check_model
from services.edge.settings import EdgeSettings
from tiermesh.runner.v1 import runner_pb2

# Where each kind of model is used, for those who took the wrong one.
_URLS = {
    "chat": "/v1/chat/completions",
    "embedding": "/v1/embeddings",
    "speech": "/v1/audio/speech",
    "transcription": "/v1/audio/transcriptions",
    "image": "/v1/images/generations",
}


@dataclass(frozen=True, slots=True)
class Mesh:
    """What serving needs from behind the edge."""

    catalog: Catalog
    placer: Placer
    cashier: Cashier
    runners: RunnerPool


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a validated request asks of the mesh."""

    context: RequestContext
    principal: Principal
    model: Model
    # One for each choice.
    calls: list[runner_pb2.GenerateCall]
    # How many times the price is charged.
    quantity: int = 1
    # What the runner must be able to do beyond the model's plain work.
    capabilities: tuple[str, ...] = ()
    # Empty without one; see services/edge/idempotency.py.
    idempotency_key: str = ""


class PaidPath:
    """Opens an exchange for each order. `monotonic` counts seconds and never goes back."""

    def __init__(self, mesh: Mesh, settings: EdgeSettings, monotonic: Callable[[], float]) -> None:
        self._mesh = mesh
        self._settings = settings
        self.monotonic = monotonic

    def find_model(self, name: str, kind: Kind, principal: Principal) -> Model:
        """Returns the model that a request names; raises MeshError if it does not exist, fit or belong to the key."""
        model = find_model(self._mesh.catalog, name)
        if model.kind != kind:
            message = f"{model.id} is a model of kind {model.kind}: use it with {_URLS[model.kind]}."
            raise MeshError(Code.INVALID_REQUEST, message, param="model")
        check_model(principal, model)
        return model

    @asynccontextmanager
    async def open(self, order: Order) -> AsyncGenerator[Exchange]:
        """Places and pays for an order and starts its calls; raises MeshError, with nothing charged, if it cannot."""
        # With an idempotency key the price is held first: a repeat must not wait for a slot, perhaps the very one that
        # the first request has, to be told that it is a repeat.
        placement = None if order.idempotency_key else await self._place(order)
        payment = await self._mesh.cashier.reserve(
            order.context.request_id,
            order.principal,
            order.model.id,
            quantity=order.quantity,
            idempotency_key=order.idempotency_key,
        )
        async with Exchange(self._answer(order), payment) as exchange:
            placement = placement or await self._place(order)
            exchange.answer.start(order.calls, placement)
            yield exchange

    async def _place(self, order: Order) -> Placement:
        return await self._mesh.placer.place(
            order.model, order.principal.account_id, self._settings.queue_timeout, capabilities=order.capabilities
        )

    def _answer(self, order: Order) -> Answer:
        return Answer(
            model=order.model,
            account_id=order.principal.account_id,
            capabilities=order.capabilities,
            placer=self._mesh.placer,
            runners=self._mesh.runners,
            queue_timeout=self._settings.queue_timeout,
            deadline=order.context.arrived + self._settings.request_timeout,
            clock=self.monotonic,
        )


def find_model(catalog: Catalog, name: str) -> Model:
    """Returns the model of this id or alias; raises MeshError MODEL_NOT_FOUND, naming those that exist."""
    model = catalog.get(name)
    if model is None:
        known = ", ".join(model.id for model in catalog.models)
        message = f"The model {name[:100]!r} does not exist. Available models: {known}."
        raise MeshError(Code.MODEL_NOT_FOUND, message, param="model")
    return model
