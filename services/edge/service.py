"""The edge's HTTP face: registers the routes, and puts keys, headers, errors and metrics around their handlers."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from aiohttp import web

from services.common.errors import MeshError
from services.common.settings import split_list
from services.common.telemetry.logs import get_logger
from services.common.telemetry.tracing import Tracing
from services.edge.authentication import Authenticator, Principal, RateLimit
from services.edge.context import RequestContext, RequestIds
from services.edge.http.bodies.arriving import SlowBodyError, arriving
from services.edge.http.bodies.incoming import BODY, BodyLimits, BodyTooLargeError, IncomingBody
from services.edge.http.bodies.memory import BodyMemory, NoMemoryError
from services.edge.http.compression import check_encoding, compress
from services.edge.http.cors import Cors, options
from services.edge.http.errors import (
    OPENAI_ERRORS,
    ErrorFormat,
    Refusal,
    body_too_large,
    broken_body,
    error_response,
    internal_error,
    not_expected,
    refused,
    respond,
    slow_body,
    unknown_url,
    wrong_method,
)
from services.edge.http.protocol import SERVER_NAME
from services.edge.http.sockets import asks_for_socket, no_socket
from services.edge.metrics import AUTHENTICATE, BODY_BYTES, IN_FLIGHT, NO_MEMORY, REJECTIONS, RouteMetrics, reason_of
from services.edge.openapi.document import PaymentInfo
from services.edge.openapi.serving import Document
from services.edge.route import AnyRoute, Handler, PublicRoute, Route
from services.edge.scopes import scoped
from services.edge.settings import EdgeSettings
from services.edge.tracing import CLIENT_LEFT, begin_request, note_end

log = get_logger()

# What aiohttp calls.
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# Both prefixes serve the same routes; the second is c0mpute's.
PREFIXES = ("/v1", "/api/v1")


class WalletAccess(NamedTuple):
    """How requests come in that wallets pay for."""

    # Returns who sends a request without a key; None for one with a key. Raises MeshError for one too many.
    keyless: Callable[[web.Request], Principal | None]
    # Returns the address that such a request comes from: what its body takes counts for that.
    address: Callable[[web.Request], str]
    # What the document of the API tells of an endpoint.
    payment_info: PaymentInfo


class EdgeService:
    """Builds the aiohttp application. `monotonic` counts seconds and never goes back; without `tracing` it is off."""

    def __init__(
        self,
        routes: Sequence[AnyRoute],
        authenticator: Authenticator,
        settings: EdgeSettings,
        *,
        monotonic: Callable[[], float],
        tracing: Tracing | None = None,
        request_ids: RequestIds | None = None,
        digests: bool = False,
        wallets: WalletAccess | None = None,
    ) -> None:
        """`digests` says that receipts tell the digest of each request.

        `wallets` lets requests without a key reach the endpoints that are paid for.
        """
        self._wallets = wallets
        self._routes = (*routes, Document(routes, wallets.payment_info if wallets is not None else None).route)
        self._authenticator = authenticator
        self._settings = settings
        self._monotonic = monotonic
        self._tracing = tracing
        self._request_ids = request_ids or RequestIds()
        self._digests = digests
        self._body_limits = BodyLimits(settings.max_text_bytes, settings.max_body_bytes)
        self._body_memory = BodyMemory(total=settings.body_memory_bytes, per_account=settings.account_body_memory_bytes)
        self._in_flight = 0
        IN_FLIGHT.set_function(lambda: self._in_flight)
        BODY_BYTES.set_function(lambda: self._body_memory.held)

    def application(self) -> web.Application:
        """Returns the application with every route."""
        app = web.Application()
        app.on_response_prepare.append(Cors(split_list(self._settings.cors_origins)).add_headers)
        app.on_response_prepare.append(self._name)
        for prefix in PREFIXES:
            self._register(app, prefix, self._routes)
        self._register(app, "", [route for route in self._routes if route.at_root])
        # A path may hold line breaks, which a dot alone does not match.
        app.router.add_route("*", "/{tail:(?s:.*)}", self._unknown)
        return app

    def _register(self, app: web.Application, prefix: str, routes: Iterable[AnyRoute]) -> None:
        """Adds routes; those of one path share the answer to any other method."""
        paths: dict[str, dict[str, _Handler]] = {}
        formats: dict[str, ErrorFormat] = {}
        for route in routes:
            methods = paths.setdefault(prefix + route.path, {})
            if route.method in methods:
                raise ValueError(f"two routes for {route.method} {route.path}")
            methods[route.method] = _public(route) if isinstance(route, PublicRoute) else self._guard(route)
            formats[prefix + route.path] = OPENAI_ERRORS if isinstance(route, PublicRoute) else route.errors
        for path, methods in paths.items():
            self._add_methods(app, path, methods, formats[path])

    def _guard(self, route: Route) -> _Handler:
        """Wraps a handler: identifies the request, checks its key, and turns every failure into the route's format."""
        metrics, handler = RouteMetrics(route.name), scoped(route.scope, route.handler)
        id_headers = route.errors.id_headers
        wallets = self._wallets if route.operation is not None and route.operation.paid else None
        tracing = self._tracing
        # To ask the logger at each request costs more than everything else here.
        verbose = log.is_enabled_for(logging.DEBUG)

        async def guarded(request: web.Request) -> web.StreamResponse:
            context = RequestContext(self._request_ids.new(), self._monotonic())
            for name in id_headers:
                context.headers[name] = context.request_id
            if tracing is not None:
                context.trace = begin_request(tracing, request, context)
            self._in_flight += 1
            status, sent = CLIENT_LEFT, 0
            try:
                response = await self._answer(request, context, handler, route.errors, wallets)
                status, sent = response.status, _size(response)
                return response
            finally:
                self._in_flight -= 1
                seconds = self._monotonic() - context.arrived
                metrics.answered(context.model, status, seconds, received=request.content.total_bytes, sent=sent)
                if context.trace is not None or status >= 500 or verbose:
                    note_end(context, route.name, status, seconds)

        return guarded

    async def _answer(
        self,
        request: web.Request,
        context: RequestContext,
        handler: Handler,
        errors: ErrorFormat,
        wallets: WalletAccess | None,
    ) -> web.StreamResponse:
        try:
            check_encoding(request)
            address = ""
            if wallets is not None and (keyless := wallets.keyless(request)) is not None:
                # All that is known of who sends it, until it has paid.
                principal, address = keyless, wallets.address(request)
            else:
                principal = await self._authenticate(request, context)
            with self._body_memory.share(principal.account_id, address) as share:
                request[BODY] = IncomingBody(request, self._body_limits, share, digest=self._digests)
                if request.content.is_eof():
                    response = await handler(request, context, principal)
                else:
                    response = await self._receive(request, context, principal, handler)
        except (MeshError, BodyTooLargeError, SlowBodyError) as error:
            response = respond(self._refusal(error, context), errors, context.request_id)
        except web.RequestPayloadError:
            # Nothing after it can be told from the body, and aiohttp must not try to read the rest.
            request.content.feed_eof()
            response = respond(broken_body(), errors, context.request_id)
            response.force_close()
        except ConnectionError:
            raise
        except Exception:
            # The client gets a decided error whatever the defect was.
            log.exception("request_failed", request_id=context.request_id)
            response = respond(refused(internal_error()), errors, context.request_id)
        if not response.prepared:
            if request.writer.output_size > 0:
                _break_off(request)
            response.headers.update(context.headers)
            compress(request, response)
        return response

    def _refusal(self, error: MeshError | BodyTooLargeError | SlowBodyError, context: RequestContext) -> Refusal:
        if isinstance(error, BodyTooLargeError):
            return body_too_large(error.limit, beside_images=error.beside_images)
        if isinstance(error, SlowBodyError):
            return slow_body(self._settings.body_seconds)
        full = isinstance(error, NoMemoryError)
        REJECTIONS.labels(NO_MEMORY if full else reason_of(error.code, placing=context.placing)).inc()
        return refused(error)

    async def _receive(
        self, request: web.Request, context: RequestContext, principal: Principal, handler: Handler
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
        verdict = await self._authenticator.authenticate(request.headers, context)
        context.overhead = self._monotonic() - began
        AUTHENTICATE.observe(context.overhead)
        if verdict.rate_limit is not None:
            context.headers.update(rate_limit_headers(verdict.rate_limit))
        if isinstance(verdict.principal, MeshError):
            raise verdict.principal
        return verdict.principal

    def _add_methods(
        self, app: web.Application, path: str, handlers: Mapping[str, _Handler], errors: ErrorFormat
    ) -> None:
        """Adds what a path does for each method, and for any other the answer that it is the wrong one."""
        if "GET" in handlers:
            # aiohttp sends no body to HEAD.
            handlers = {"GET": handlers["GET"], "HEAD": handlers["GET"], **handlers}
        allowed = ", ".join(handlers)

        async def refuse(request: web.Request) -> web.Response:
            if request.method == "OPTIONS":
                return options(request, allowed)
            if asks_for_socket(request):
                return self._answer_early(no_socket(), errors)
            return self._answer_early(wrong_method(request.method, request.path, allowed), errors)

        async def expect(request: web.Request) -> web.Response | None:
            """Refuses what cannot be expected; a body is asked for once the key is known to be good."""
            expected = request.headers["Expect"].lower() == "100-continue"
            return None if expected else self._answer_early(not_expected(), errors)

        for method, handler in handlers.items():
            app.router.add_route(method, path, handler, expect_handler=expect)
        app.router.add_route("*", path, refuse, expect_handler=expect)

    def _answer_early(self, refusal: Refusal, errors: ErrorFormat) -> web.Response:
        """Refuses what does not get as far as a handler, under an id of its own."""
        request_id = self._request_ids.new()
        response = respond(refusal, errors, request_id)
        response.headers.update(dict.fromkeys(errors.id_headers, request_id))
        return response

    async def _name(self, _request: web.Request, response: web.StreamResponse) -> None:
        """Gives a name to answers that need no key too, such as that to an unknown URL: support may be asked of any.

        Nobody but the operator needs to know which versions of what serve them.
        """
        response.headers["Server"] = SERVER_NAME
        if "x-request-id" not in response.headers:
            response.headers["x-request-id"] = self._request_ids.new()

    async def _unknown(self, request: web.Request) -> web.Response:
        if request.method == "OPTIONS":
            return options(request, "GET, HEAD, POST, DELETE")
        return respond(unknown_url(request.method, request.path))


def _size(response: web.StreamResponse) -> int:
    """Returns the bytes of a response; one that is not sent yet is known to have so many."""
    if response.prepared or not isinstance(response, web.Response):
        return response.body_length
    body = response.body
    return len(body) if isinstance(body, bytes) else 0


def _break_off(request: web.Request) -> None:
    """Ends a connection on which a response has begun that cannot be finished.

    What was sent arrives, but not the mark that ends a body, so that no client takes it for the whole. aiohttp writes
    nothing to a connection that is being closed: the error that is returned in its place is for metrics and logs.
    """
    if request.transport is not None:
        request.transport.close()


def _public(route: PublicRoute) -> _Handler:
    """Wraps a handler that needs no key."""

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await route.handler(request)
        except MeshError as error:
            return error_response(error)

    return answer


def rate_limit_headers(limit: RateLimit) -> dict[str, str]:
    """Returns OpenAI's rate-limit headers; a key without a limit has none."""
    if limit.limit == 0:
        return {}
    return {
        "x-ratelimit-limit-requests": str(limit.limit),
        "x-ratelimit-remaining-requests": str(limit.remaining),
        "x-ratelimit-reset-requests": f"{limit.reset:.3f}s",
    }
