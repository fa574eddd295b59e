"""The edge's HTTP face: routes, keys, headers and errors around the handlers."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

from services.common.errors import MeshError
from services.common.scopes import MANAGEMENT
from services.common.settings import split_list
from services.common.telemetry.logs import get_logger
from services.common.telemetry.tracing import Tracing
from services.edge.account.balance import Balances
from services.edge.account.keys import Keys
from services.edge.account.models import model_body, models_body
from services.edge.account.usage import UsageEndpoint
from services.edge.authentication import Authenticator, Principal, RateLimit
from services.edge.chat.endpoint import Chat
from services.edge.completions.endpoint import Completions
from services.edge.context import RequestContext, RequestIds
from services.edge.embeddings.endpoint import Embeddings
from services.edge.http.compression import check_encoding, compress
from services.edge.http.cors import Cors, options
from services.edge.http.errors import (
    body_too_large,
    broken_body,
    error_response,
    internal_error,
    not_expected,
    slow_body,
    unknown_url,
    wrong_method,
)
from services.edge.http.parsing import json_response
from services.edge.http.request_body import SlowBodyError, arriving
from services.edge.images.endpoint import FILES_PATH, Images
from services.edge.metrics import AUTHENTICATE, IN_FLIGHT, REJECTIONS, RouteMetrics, reason_of
from services.edge.openapi.serving import Document
from services.edge.paid.path import Mesh, find_model
from services.edge.paid.routing import AvailableModels
from services.edge.responses.endpoint import Responses
from services.edge.scopes import check_model, may_use_model, scoped
from services.edge.settings import EdgeSettings
from services.edge.speech.endpoint import Speech
from services.edge.tracing import CLIENT_LEFT, begin_request, note_end
from services.edge.transcriptions.endpoint import Transcriptions

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
    completions: Completions
    responses: Responses
    embeddings: Embeddings
    images: Images
    speech: Speech
    transcriptions: Transcriptions
    mesh: Mesh
    available_models: AvailableModels
    balances: Balances
    keys: Keys
    usage: UsageEndpoint
    # None if tracing is off.
    tracing: Tracing | None = None


class EdgeService:
    """Builds the aiohttp application. `monotonic` counts seconds and never goes back."""

    def __init__(self, handlers: Handlers, settings: EdgeSettings, *, monotonic: Callable[[], float]) -> None:
        self._handlers = handlers
        self._settings = settings
        self._monotonic = monotonic
        self._request_ids = RequestIds()

    def application(self) -> web.Application:
        """Returns the application with every route."""
        app = web.Application(client_max_size=self._settings.max_body_bytes)
        app.on_response_prepare.append(Cors(split_list(self._settings.cors_origins)).add_headers)
        app.on_response_prepare.append(self._name)
        for prefix in PREFIXES:
            self._add(app, "POST", prefix + "/chat/completions", "chat", "chat", self._handlers.chat.serve)
            self._add(app, "POST", prefix + "/embeddings", "embeddings", "embeddings", self._handlers.embeddings.serve)
            self._add(app, "POST", prefix + "/completions", "completions", "chat", self._handlers.completions.serve)
            self._add_responses(app, prefix)
            self._add(app, "POST", prefix + "/images/generations", "images", "images", self._handlers.images.serve)
            # Whoever has the URL of an image may fetch it, as from OpenAI.
            _add_methods(app, prefix + FILES_PATH + "{name}", {"GET": _public(self._handlers.images.file)})
            self._add_audio(app, prefix + "/audio")
            self._add(app, "GET", prefix + "/models", "models", "models", self._models)
            # Ids may contain slashes.
            self._add(app, "GET", prefix + "/models/{model:.+}", "model", "models", self._model)
            self._add(app, "GET", prefix + "/balance", "balance", "balance", self._balance)
            self._add(app, "GET", prefix + "/usage", "usage", "usage", self._handlers.usage.report)
            self._add(app, "GET", prefix + "/requests/{request_id}", "request", "usage", self._handlers.usage.request)
            self._add_keys(app, prefix)
        document = Document(app)
        for path in ("", *PREFIXES):
            _add_methods(app, path + "/openapi.json", {"GET": document.serve})
        app.router.add_route("*", "/{tail:.*}", self._unknown)
        return app

    def _add(self, app: web.Application, method: str, path: str, route: str, scope: str, handler: PaidHandler) -> None:
        """Adds a path; `route` is its name in metrics, `scope` what a key needs to be let in."""
        _add_methods(app, path, {method: self._guard(route, scoped(scope, handler))})

    def _add_responses(self, app: web.Application, prefix: str) -> None:
        responses = self._handlers.responses
        self._add(app, "POST", prefix + "/responses", "responses", "chat", responses.serve)
        stored = self._guard("response", scoped("chat", responses.stored))
        _add_methods(app, prefix + "/responses/{tail:.+}", dict.fromkeys(("GET", "POST", "DELETE"), stored))

    def _add_audio(self, app: web.Application, prefix: str) -> None:
        transcriptions = self._handlers.transcriptions
        self._add(app, "POST", prefix + "/speech", "speech", "audio", self._handlers.speech.serve)
        self._add(app, "POST", prefix + "/transcriptions", "transcriptions", "audio", transcriptions.serve)
        self._add(app, "POST", prefix + "/translations", "translations", "audio", transcriptions.translate)

    def _add_keys(self, app: web.Application, prefix: str) -> None:
        keys = self._handlers.keys
        handlers = {"GET": scoped(MANAGEMENT, keys.list), "POST": scoped(MANAGEMENT, keys.create)}
        _add_methods(
            app, prefix + "/keys", {method: self._guard("keys", handler) for method, handler in handlers.items()}
        )
        self._add(app, "DELETE", prefix + "/keys/{key_id}", "key", MANAGEMENT, keys.revoke)

    def _guard(self, route: str, handler: PaidHandler) -> Handler:
        """Wraps a handler: identifies the request, checks its key, and turns every failure into OpenAI's shape."""
        metrics = RouteMetrics(route)
        tracing = self._handlers.tracing
        # To ask the logger at each request costs more than everything else here.
        verbose = log.is_enabled_for(logging.DEBUG)

        async def guarded(request: web.Request) -> web.StreamResponse:
            context = RequestContext(self._request_ids.new(), self._monotonic())
            context.headers["x-request-id"] = context.request_id
            if tracing is not None:
                context.trace = begin_request(tracing, request, context)
            IN_FLIGHT.inc()
            status, sent = CLIENT_LEFT, 0
            try:
                response = await self._answer(request, context, handler)
                status, sent = response.status, _size(response)
                return response
            finally:
                IN_FLIGHT.dec()
                seconds = self._monotonic() - context.arrived
                metrics.answered(context.model, status, seconds, received=request.content.total_bytes, sent=sent)
                if context.trace is not None or status >= 500 or verbose:
                    note_end(context, route, status, seconds)

        return guarded

    async def _answer(self, request: web.Request, context: RequestContext, handler: PaidHandler) -> web.StreamResponse:
        try:
            check_encoding(request)
            principal = await self._authenticate(request, context)
            if request.content.is_eof():
                response = await handler(request, context, principal)
            else:
                response = await self._receive(request, context, principal, handler)
        except MeshError as error:
            REJECTIONS.labels(reason_of(error.code, placing=context.placing)).inc()
            response = error_response(error)
        except web.HTTPRequestEntityTooLarge:
            response = body_too_large(self._settings.max_body_bytes)
        except SlowBodyError:
            response = slow_body(self._settings.body_seconds)
        except web.RequestPayloadError:
            # Nothing after it can be told from the body, and aiohttp must not try to read the rest.
            request.content.feed_eof()
            response = broken_body()
            response.force_close()
        except ConnectionError:
            raise
        except Exception:
            # The client gets a decided error whatever the defect was.
            log.exception("request_failed", request_id=context.request_id)
            response = error_response(internal_error())
        if not response.prepared:
            if request.writer.output_size > 0:
                _break_off(request)
            response.headers.update(context.headers)
            compress(request, response)
        return response

    async def _receive(
        self, request: web.Request, context: RequestContext, principal: Principal, handler: PaidHandler
    ) -> web.StreamResponse:
        """Handles a request whose body is still on its way, as large ones are when their head is here."""
        if "Expect" in request.headers:
            # Only now: a client that waits for this sends nothing in vain, for its key is good.
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0
        async with arriving(request, self._settings.body_seconds):
            return await handler(request, context, principal)

    async def _authenticate(self, request: web.Request, context: RequestContext) -> Principal:
        began = self._monotonic()
        verdict = await self._handlers.authenticator.authenticate(request.headers.get("Authorization"), context)
        context.overhead = self._monotonic() - began
        AUTHENTICATE.observe(context.overhead)
        if verdict.rate_limit is not None:
            context.headers.update(rate_limit_headers(verdict.rate_limit))
        if isinstance(verdict.principal, MeshError):
            raise verdict.principal
        return verdict.principal

    async def _models(self, _request: web.Request, _context: RequestContext, principal: Principal) -> web.Response:
        models = [model for model in self._handlers.mesh.catalog.models if may_use_model(principal, model)]
        return json_response(models_body(models, self._handlers.available_models))

    async def _model(self, request: web.Request, _context: RequestContext, principal: Principal) -> web.Response:
        model = find_model(self._handlers.mesh.catalog, request.match_info["model"])
        check_model(principal, model)
        return json_response(model_body(model, self._handlers.available_models))

    async def _balance(self, _request: web.Request, _context: RequestContext, principal: Principal) -> web.Response:
        return json_response(await self._handlers.balances.get(principal.account_id))

    async def _name(self, _request: web.Request, response: web.StreamResponse) -> None:
        """Gives a name to answers that need no key too, such as that to an unknown URL: support may be asked of any."""
        if "x-request-id" not in response.headers:
            response.headers["x-request-id"] = self._request_ids.new()

    async def _unknown(self, request: web.Request) -> web.Response:
        if request.method == "OPTIONS":
            return options(request, "GET, HEAD, POST, DELETE")
        return unknown_url(request.method, request.path)


def _size(response: web.StreamResponse) -> int:
    """Returns the bytes of a response; one that is not sent yet is known to have so many."""
    if response.prepared or not isinstance(response, web.Response):
        return response.body_length
    return len(response.body) if isinstance(response.body, bytes) else 0


def _break_off(request: web.Request) -> None:
    """Ends a connection on which a response has begun that cannot be finished.

    What was sent arrives, but not the mark that ends a body, so that no client takes it for the whole. aiohttp writes
    nothing to a connection that is being closed: the error that is returned in its place is for metrics and logs.
    """
    if request.transport is not None:
        request.transport.close()


def _public(handler: Handler) -> Handler:
    """Wraps a handler that needs no key."""

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except MeshError as error:
            return error_response(error)

    return answer


def _add_methods(app: web.Application, path: str, handlers: Mapping[str, Handler]) -> None:
    """Adds what a path does for each method, and for any other the answer that it is the wrong one."""
    if "GET" in handlers:
        # aiohttp sends no body to HEAD.
        handlers = {"GET": handlers["GET"], "HEAD": handlers["GET"], **handlers}
    allowed = ", ".join(handlers)

    async def refuse(request: web.Request) -> web.Response:
        if request.method == "OPTIONS":
            return options(request, allowed)
        return wrong_method(request.method, request.path, allowed)

    for method, handler in handlers.items():
        app.router.add_route(method, path, handler, expect_handler=_expect)
    app.router.add_route("*", path, refuse, expect_handler=_expect)


async def _expect(request: web.Request) -> web.Response | None:
    """Refuses what cannot be expected; a body is asked for once the key is known to be good."""
    return None if request.headers["Expect"].lower() == "100-continue" else not_expected()


def rate_limit_headers(limit: RateLimit) -> dict[str, str]:
    """Returns OpenAI's rate-limit headers; a key without a limit has none."""
    if limit.limit == 0:
        return {}
    return {
        "x-ratelimit-limit-requests": str(limit.limit),
        "x-ratelimit-remaining-requests": str(limit.remaining),
        "x-ratelimit-reset-requests": f"{limit.reset:.3f}s",
    }
