"""GET /v1/models: the catalog in OpenAI's shape, with live availability and price."""

from __future__ import annotations

from typing import Literal

from aiohttp import web
from msgspec import Struct

from services.common.catalog import Capability, Kind, Model
from services.edge.authentication import Principal
from services.edge.context import RequestContext
from services.edge.http.parsing import json_response
from services.edge.paid.path import Mesh, find_model
from services.edge.scopes import check_model, may_use_model

CREDITS_PER_DOLLAR = 100


class Pricing(Struct, frozen=True):
    """What one unit costs."""

    unit: str
    credits: int
    usd: str


class ModelBody(Struct, frozen=True):
    """A model for sale; `available` tells whether a healthy runner serves it now."""

    id: str
    owned_by: str
    available: bool
    tier: str
    kind: Kind
    context_length: int
    capabilities: tuple[Capability, ...]
    pricing: Pricing
    object: Literal["model"] = "model"
    # The catalog does not date its models; OpenAI's clients want a number here.
    created: int = 0


class ModelList(Struct, frozen=True):
    """The models that a key may use."""

    data: list[ModelBody]
    object: Literal["list"] = "list"


class Models:
    """Serves the routes for requests whose key has the models scope."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh

    async def list(self, _request: web.Request, _context: RequestContext, principal: Principal) -> web.Response:
        """Answers GET /v1/models: those that the key may use, in the order of the catalog."""
        models = [model for model in self._mesh.catalog.models if may_use_model(principal, model)]
        return json_response(ModelList([self._body(model) for model in models]))

    async def describe(self, request: web.Request, _context: RequestContext, principal: Principal) -> web.Response:
        """Answers GET /v1/models/{model}; raises MeshError for one that does not exist or that the key may not use."""
        model = find_model(self._mesh.catalog, request.match_info["model"])
        check_model(principal, model)
        return json_response(self._body(model))

    def _body(self, model: Model) -> ModelBody:
        return ModelBody(
            id=model.id,
            owned_by=model.owned_by,
            available=self._mesh.available_models[model.id],
            tier=model.tier,
            kind=model.kind,
            context_length=model.context,
            capabilities=model.capabilities,
            pricing=Pricing(unit=model.unit, credits=model.price, usd=f"{model.price / CREDITS_PER_DOLLAR:.2f}"),
        )
