"""The edge's HTTP face: routes, keys, headers and errors around the handlers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

from services.common.errors import Code, MeshError
from services.common.logs import get_logger
from services.common.scopes import MANAGEMENT
from services.edge.authentication import Authenticator, Principal, RateLimit
from services.edge.balance import Balances
from services.edge.chat.endpoint import Chat
from services.edge.context import RequestContext
from services.edge.http_errors import body_too_large, error_response, unknown_url, wrong_method
from services.edge.json_response import json_response
from services.edge.keys import Keys
from services.edge.metrics import DURATION, IN_FLIGHT, StatusCounter
from services.edge.models import model_body, models_body
from services.edge.paid import Mesh, find_model
from services.edge.request_ids import RequestIds
from services.edge.routing import Availability
from services.edge.scopes import check_model, may_use_model, scoped
from services.edge.usage import Usage

log = get_logger()

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
PaidHandler = Callable[[web.Request, RequestContext, Principal], Awaitable[web.StreamResponse]]

# Both prefixes serve the same routes; the second is c0mpute's.
PREFIXES = ("/v1", "/api/v1")


@dataclass(frozen=True, slots=True)
class Handlers:
    """What the routes lead to."""

    authenticator: Authenticator
    chat: Chat
    mesh: Mesh
    availability: Availability
    balances: Balances
    keys: Keys
    usage: Usage


class EdgeService:
    """Builds the aiohttp application. `monotonic` counts seconds and never goes back."""

    def __init__(self, handlers: Handlers, *, max_body_bytes: int, monotonic: Callable[[], float]) -> None:
        self._handlers = handlers
        self._max_body_bytes = max_body_bytes
        self._monotonic = monotonic
        self._request_ids = RequestIds()

    def application(self) -> web.Application:
        """Returns the application with every route."""
        app = web.Application(client_max_size=self._max_body_bytes)
        for prefix in PREFIXES:
            self._add(app, "POST", prefix + "/chat/completions", "chat", "chat", self._handlers.chat.serve)
            self._add(app, "GET", prefix + "/models", "models", "models", self._models)
            # Ids may contain slashes.
            self._add(app, "GET", prefix + "/models/{model:.+}", "model", "models", self._model)
            self._add(app, "GET", prefix + "/balance", "balance", "balance", self._balance)
            self._add(app, "GET", prefix + "/usage", "usage", "usage", self._handlers.usage.report)
            self._add(app, "GET", prefix + "/requests/{request_id}", "request", "usage", self._handlers.usage.request)
            self._add_keys(app, prefix)
        app.router.add_route("*", "/{tail:.*}", self._unknown)
        return app

    def _add(self, app: web.Application, method: str, path: str, route: str, scope: str, handler: PaidHandler) -> None:
        """Adds a path; `route` is its name in metrics, `scope` what a key needs to be let in."""
        _add_methods(app, path, {method: self._guard(route, scoped(scope, handler))})

    def _add_keys(self, app: web.Application, prefix: str) -> None:
        keys = self._handlers.keys
        handlers = {"GET": scoped(MANAGEMENT, keys.list), "POST": scoped(MANAGEMENT, keys.create)}
        _add_methods(
            app, prefix + "/keys", {method: self._guard("keys", handler) for method, handler in handlers.items()}
        )
        self._add(app, "DELETE", prefix + "/keys/{key_id}", "key", MANAGEMENT, keys.revoke)

    def _guard(self, route: str, handler: PaidHandler) -> Handler:
        """Wraps a handler: identifies the request, checks its key, and turns every failure into OpenAI's shape."""
        duration = DURATION.labels(route)
        count = StatusCounter(route)

        async def guarded(request: web.Request) -> web.StreamResponse:
            context = RequestContext(self._request_ids.new(), self._monotonic())
            context.headers["x-request-id"] = context.request_id
            IN_FLIGHT.inc()
            status = 499
            try:
                response = await self._answer(request, context, handler)
                status = response.status
                return response
            finally:
                IN_FLIGHT.dec()
                count(status)
                duration.observe(self._monotonic() - context.arrived)

        return guarded

    async def _answer(self, request: web.Request, context: RequestContext, handler: PaidHandler) -> web.StreamResponse:
        try:
            principal = await self._authenticate(request, context)
            response = await handler(request, context, principal)
        except MeshError as error:
            response = error_response(error)
        except web.HTTPRequestEntityTooLarge:
            response = body_too_large(self._max_body_bytes)
        except ConnectionError:
            raise
        except Exception:
            # The client gets a decided error whatever the defect was.
            log.exception("request_failed", request_id=context.request_id)
            response = error_response(MeshError(Code.INTERNAL, "An internal error happened. Nothing was charged."))
        if not response.prepared:
            response.headers.update(context.headers)
        return response

    async def _authenticate(self, request: web.Request, context: RequestContext) -> Principal:
        verdict = await self._handlers.authenticator.authenticate(request.headers.get("Authorization"))
        if verdict.rate_limit is not None:
            context.headers.update(rate_limit_headers(verdict.rate_limit))
        if isinstance(verdict.principal, MeshError):
            raise verdict.principal
        return verdict.principal

    async def _models(self, _request: web.Request, _context: RequestContext, principal: Principal) -> web.Response:
        models = [model for model in self._handlers.mesh.catalog.models if may_use_model(principal, model)]
        return json_response(models_body(models, self._handlers.availability))

    async def _model(self, request: web.Request, _context: RequestContext, principal: Principal) -> web.Response:
        model = find_model(self._handlers.mesh.catalog, request.match_info["model"])
        check_model(principal, model)
        return json_response(model_body(model, self._handlers.availability))

    async def _balance(self, _request: web.Request, _context: RequestContext, principal: Principal) -> web.Response:
        return json_response(await self._handlers.balances.get(principal.account_id))

    async def _unknown(self, request: web.Request) -> web.Response:
        return unknown_url(request.method, request.path)


def _add_methods(app: web.Application, path: str, handlers: Mapping[str, Handler]) -> None:
    """Adds what a path does for each method, and for any other the answer that it is the wrong one."""
    allowed = ", ".join(handlers)

    async def refuse(request: web.Request) -> web.Response:
        return wrong_method(request.method, request.path, allowed)

    for method, handler in handlers.items():
        app.router.add_route(method, path, handler)
    app.router.add_route("*", path, refuse)


def rate_limit_headers(limit: RateLimit) -> dict[str, str]:
    """Returns OpenAI's rate-limit headers; a key without a limit has none."""
    if limit.limit == 0:
        return {}
    return {
        "x-ratelimit-limit-requests": str(limit.limit),
        "x-ratelimit-remaining-requests": str(limit.remaining),
        "x-ratelimit-reset-requests": f"{limit.reset:.3f}s",
    }
