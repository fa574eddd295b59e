"""Registers the pages, and puts around each what protects it: host, origin, session, form token, time limit, errors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web

from services.common.errors import Code, MeshError
from services.common.telemetry.logs import get_logger
from services.console.error_pages import NOTHING_CHARGED, ErrorPages, Errors, JsonErrors, error_json
from services.console.http.browser_sessions import BrowserSessions
from services.console.http.forms import FORM_TOKEN, FORM_TOKEN_HEADER, MOST_BYTES, is_form_token, read_form
from services.console.http.headers import NOT_STORED, security_headers
from services.console.http.origin import Origin
from services.console.http.uploads import Uploads, read_json
from services.console.metrics import FORMS_REFUSED, REQUEST_SECONDS, REQUESTS
from services.console.page import Page
from services.console.sign_in.recovery import NEW_WAY_IN, is_recovering
from services.console.static_files import StaticFiles
from services.console.visit import Visit, own_path

log = get_logger()

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_CLIENT_LEFT = 499


class Application:
    """Builds the aiohttp application; times are in seconds, and `monotonic` is in seconds, too."""

    def __init__(
        self,
        pages: Sequence[Page],
        sessions: BrowserSessions,
        errors: ErrorPages,
        origin: Origin,
        *,
        request_timeout: float,
        body_seconds: float,
        monotonic: Callable[[], float],
    ) -> None:
        self._pages = (*pages, Page(path="/{tail:(?s:.*)}", name="unknown", handler=_unknown, public=True))
        self._sessions = sessions
        self._errors = errors
        self._json_errors = JsonErrors()
        self._uploads = Uploads()
        self._origin = origin
        self._request_timeout = request_timeout
        self._body_seconds = body_seconds
        self._monotonic = monotonic
        self._headers = security_headers(secure=origin.secure)

    def build(self) -> web.Application:
        """Returns the application."""
        app = web.Application(client_max_size=MOST_BYTES, middlewares=[self._wrong_method])
        app.on_response_prepare.append(self._add_headers)
        app.router.add_get("/static/{digest}/{name}", StaticFiles().serve)
        for page in self._pages:
            handler = self._guarded(page)
            if page.method == "GET":
                app.router.add_get(page.path, handler)
            else:
                app.router.add_post(page.path, handler)
        return app

    def _guarded(self, page: Page) -> _Handler:
        seconds = REQUEST_SECONDS.labels(page.name)

        async def guarded(request: web.Request) -> web.StreamResponse:
            began = self._monotonic()
            status = _CLIENT_LEFT
            try:
                response = await self._answer(request, page)
                status = response.status
            finally:
                REQUESTS.labels(page.name, str(status)).inc()
                seconds.observe(self._monotonic() - began)
            return response

        return guarded

    async def _answer(self, request: web.Request, page: Page) -> web.StreamResponse:
        """Returns the answer to a request whatever happens: a page, or a page that says what went wrong."""
        visit: Visit | None = None
        response: web.StreamResponse
        try:
            async with asyncio.timeout(self._request_timeout):
                self._check_origin(request)
                visit = await self._visit(request)
            if (elsewhere := self._elsewhere(visit, page)) is not None:
                return elsewhere
            if request.method == "POST":
                await self._receive(visit, page)
            async with asyncio.timeout(page.seconds or self._request_timeout):
                response = await page.handler(visit)
        except ConnectionError:
            raise
        except Exception as error:  # noqa: BLE001 - what is unknown is logged
            # A person gets a page whatever the defect was.
            response = self._explain(error, visit, page)
        finally:
            if visit is not None:
                visit.leave()
        if visit is not None and visit.session is None and "Location" not in response.headers:
            self._sessions.keep_form_cookie(response, visit.cookie)
        return response

    def _explain(self, error: Exception, visit: Visit | None, page: Page) -> web.Response:
        """Returns the answer that says what went wrong, or that leads elsewhere."""
        errors: Errors = self._json_errors if page.json else self._errors
        if isinstance(error, web.HTTPRedirection):
            return web.Response(status=error.status, headers={"Location": error.headers["Location"]})
        if isinstance(error, web.HTTPException):
            return errors.of_status(visit, error.status)
        if isinstance(error, MeshError):
            return errors.of_error(visit, error)
        if isinstance(error, TimeoutError):
            return errors.of_error(visit, MeshError(Code.DEADLINE_EXCEEDED, "The answer took too long."))
        log.error("request_failed", page=page.name, exc_info=error)
        return errors.of_status(visit, 500)

    def _check_origin(self, request: web.Request) -> None:
        """Refuses requests for another host, as a page of one could make them, and forms of other sites."""
        if request.host.lower() not in self._origin.hosts:
            FORMS_REFUSED.labels("host").inc()
            raise web.HTTPMisdirectedRequest
        if request.method == "POST" and request.headers.get("Origin") not in self._origin.origins:
            FORMS_REFUSED.labels("origin").inc()
            raise web.HTTPForbidden

    async def _visit(self, request: web.Request) -> Visit:
        found = await self._sessions.find(request)
        if found is None:
            return Visit(request, self._sessions.form_cookie(request))
        token, session = found
        return Visit(request, token, session)

    def _elsewhere(self, visit: Visit, page: Page) -> web.Response | None:
        """Returns where somebody is sent who may not see a page; None if there is no reason."""
        if visit.session is None and not page.public:
            return _signed_out() if page.json else self._to_sign_in(visit.request)
        if is_recovering(visit) and not (page.recovering or page.public):
            if page.json:
                return error_json(403, "Add a passkey or get a key first.", NOTHING_CHARGED)
            return web.Response(status=303, headers={"Location": NEW_WAY_IN})
        return None

    def _to_sign_in(self, request: web.Request) -> web.Response:
        """Sends a person to the page for signing in, and from there back to where they wanted to go."""
        onward = own_path(request.path) if request.method in {"GET", "HEAD"} else "/"
        response = web.Response(status=303, headers={"Location": f"/sign-in?next={onward}"})
        self._sessions.forget_sent(request, response)
        return response

    async def _receive(self, visit: Visit, page: Page) -> None:
        """Reads what was sent, in time, and checks that a page of ours has sent it."""
        try:
            async with asyncio.timeout(self._body_seconds):
                if page.json:
                    _check_token(visit, visit.request.headers.get(FORM_TOKEN_HEADER, ""))
                    visit.leave = self._uploads.take(visit.request, visit.owner.account_id)
                    visit.body = await read_json(visit.request)
                else:
                    visit.form = await read_form(visit.request)
                    _check_token(visit, visit.form.text(FORM_TOKEN))
        except TimeoutError:
            raise web.HTTPRequestTimeout from None

    @web.middleware
    async def _wrong_method(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Gives what aiohttp itself refuses, such as another method, a page too."""
        try:
            return await handler(request)
        except web.HTTPException as error:
            response = self._errors.of_status(None, error.status)
            if "Allow" in error.headers:
                response.headers["Allow"] = error.headers["Allow"]
            return response

    async def _add_headers(self, _request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(self._headers)
        response.headers.setdefault("Cache-Control", NOT_STORED)


def _check_token(visit: Visit, token: str) -> None:
    if not is_form_token(token, visit.cookie):
        FORMS_REFUSED.labels("token").inc()
        raise web.HTTPForbidden


def _signed_out() -> web.Response:
    return error_json(401, "The session has ended. Sign in again.", NOTHING_CHARGED)


async def _unknown(_visit: Visit) -> web.StreamResponse:
    raise web.HTTPNotFound
