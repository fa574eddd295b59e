"""Serves the list of models: the catalog, with live availability and price."""

from __future__ import annotations

from aiohttp import web

from services.common.catalog import Model
from services.edge.authentication import Principal
from services.edge.context import RequestContext
from services.edge.http.parsing import json_response
from services.edge.models.anthropic_models import anthropic_model, anthropic_page, asks_for_anthropic
from services.edge.models.filters import read_filter
from services.edge.models.model_body import ModelList, model_body
from services.edge.paid.path import Mesh, find_model
from services.edge.scopes import check_model, may_use_model


class Models:
    """Serves the routes for requests whose key has the models scope."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh

    async def list(self, request: web.Request, _context: RequestContext, principal: Principal) -> web.Response:
        """Answers GET /v1/models: those that the key may use, in the order of the catalog."""
        wanted = read_filter(request.query)
        models = [
            model
            for model in self._mesh.catalog.models
            if may_use_model(principal, model) and wanted.admits(model, available=self._available(model))
        ]
        if asks_for_anthropic(request):
            conversing = [anthropic_model(model, available=self._available(model)) for model in _chats(models)]
            return json_response(anthropic_page(conversing, request.query))
        return json_response(ModelList([model_body(model, available=self._available(model)) for model in models]))

    async def describe(self, request: web.Request, _context: RequestContext, principal: Principal) -> web.Response:
        """Answers GET /v1/models/{model}; raises MeshError for one that does not exist or that the key may not use."""
        model = find_model(self._mesh.catalog, request.match_info["model"])
        check_model(principal, model)
        available = self._available(model)
        if asks_for_anthropic(request):
            return json_response(anthropic_model(model, available=available))
        return json_response(model_body(model, available=available))

    def _available(self, model: Model) -> bool:
        return self._mesh.available_models[model.id]


def _chats(models: list[Model]) -> list[Model]:
    return [model for model in models if model.kind == "chat"]
