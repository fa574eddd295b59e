"""Registers the pages, and puts around each what protects it: host, origin, session, form token, time limit, errors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web

from services.common.errors import Code, MeshError
from services.common.telemetry.logs import get_logger
from services.console.error_pages import ErrorPages
from services.console.http.browser_sessions import BrowserSessions
from services.console.http.forms import FORM_TOKEN, MOST_BYTES, Form, is_form_token, read_form
from services.console.http.headers import NOT_STORED, security_headers
from services.console.http.origin import Origin
from services.console.metrics import FORMS_REFUSED, REQUEST_SECONDS, REQUESTS
from services.console.page import Page
from services.console.sign_in.recovery import NEW_WAY_IN, is_recovering
from services.console.static_files import StaticFiles
from services.console.visit import Visit, own_path

log = get_logger()

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_CLIENT_LEFT = 499


class Application:
    """Builds the aiohttp application; `monotonic` is in seconds, and so is `request_timeout`."""

    def __init__(
        self,
        pages: Sequence[Page],
        sessions: BrowserSessions,
        errors: ErrorPages,
        origin: Origin,
        *,
        request_timeout: float,
        monotonic: Callable[[], float],
    ) -> None:
        self._pages = (*pages, Page(path="/{tail:(?s:.*)}", name="unknown", handler=_unknown, public=True))
        self._sessions = sessions
        self._errors = errors
        self._origin = origin
        self._request_timeout = request_timeout
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
                    visit.form = await self._form(request, visit)
                response = await page.handler(visit)
        except web.HTTPRedirection as redirection:
            response = web.Response(status=redirection.status, headers={"Location": redirection.headers["Location"]})
        except web.HTTPException as error:
            response = self._errors.of_status(visit, error.status)
        except MeshError as error:
            response = self._errors.of_error(visit, error)
        except TimeoutError:
            late = MeshError(Code.DEADLINE_EXCEEDED, "The answer took too long.")
            response = self._errors.of_error(visit, late)
        except ConnectionError:
            raise
        except Exception:
            # A person gets a page whatever the defect was.
            log.exception("request_failed", page=page.name)
            response = self._errors.of_status(visit, 500)
        if visit is not None and visit.session is None and "Location" not in response.headers:
            self._sessions.keep_form_cookie(response, visit.cookie)
        return response

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
            return self._to_sign_in(visit.request)
        if is_recovering(visit) and not (page.recovering or page.public):
            return web.Response(status=303, headers={"Location": NEW_WAY_IN})
        return None

    def _to_sign_in(self, request: web.Request) -> web.Response:
        """Sends a person to the page for signing in, and from there back to where they wanted to go."""
        onward = own_path(request.path) if request.method in {"GET", "HEAD"} else "/"
        response = web.Response(status=303, headers={"Location": f"/sign-in?next={onward}"})
        self._sessions.forget_sent(request, response)
        return response

    async def _form(self, request: web.Request, visit: Visit) -> Form:
        form = await read_form(request)
        if not is_form_token(form.text(FORM_TOKEN), visit.cookie):
            FORMS_REFUSED.labels("token").inc()
            raise web.HTTPForbidden
        return form

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


async def _unknown(_visit: Visit) -> web.StreamResponse:
    raise web.HTTPNotFound
