"""Signing in with an API key, showing it once more, and signing out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from services.common.errors import Code, MeshError
from services.console.http.attempt_limits import AttemptLimits
from services.console.http.browser_sessions import BrowserSessions
from services.console.metrics import SIGN_INS
from services.console.page import Page
from services.console.rendering import Renderer
from services.console.visit import Visit, own_path

# Has a key checked; raises MeshError.
_Check = Callable[[str], Awaitable[None]]
# Why a key is refused; any other error is about the mesh and not about the key.
_REFUSALS = {Code.UNAUTHENTICATED: 403, Code.PERMISSION_DENIED: 403, Code.RATE_LIMITED: 429}


class SignIn:
    """Serves the pages on which a person shows an API key. `address` tells whose attempts are counted together."""

    def __init__(
        self,
        renderer: Renderer,
        sessions: BrowserSessions,
        limits: AttemptLimits,
        address: Callable[[web.Request], str],
        *,
        with_sign_up: bool,
    ) -> None:
        self._renderer = renderer
        self._sessions = sessions
        self._limits = limits
        self._address = address
        self._with_sign_up = with_sign_up

    def pages(self) -> tuple[Page, ...]:
        """Returns the routes."""
        return (
            Page(path="/sign-in", name="sign_in", handler=self.show, public=True),
            Page(method="POST", path="/sign-in", name="sign_in", handler=self.sign_in, public=True),
            Page(path="/confirm", name="confirm", handler=self.show_confirmation),
            Page(method="POST", path="/confirm", name="confirm", handler=self.confirm),
            Page(method="POST", path="/sign-out", name="sign_out", handler=self.sign_out),
        )

    async def show(self, visit: Visit) -> web.StreamResponse:
        """Answers GET /sign-in."""
        if visit.session is not None:
            raise web.HTTPSeeOther(own_path(visit.request.query.get("next", "")))
        return self._page("sign_in", visit, visit.request.query.get("next", ""))

    async def sign_in(self, visit: Visit) -> web.StreamResponse:
        """Answers POST /sign-in."""
        onward = own_path(visit.form.text("next"))
        response = web.Response(status=303, headers={"Location": onward})
        try:
            await self._attempt(visit, lambda key: self._sessions.begin(visit.request, key, response))
        except MeshError as error:
            return self._refused("sign_in", visit, onward, error)
        if visit.session is not None:
            # The browser gets another token, so nobody could end this one any more.
            await self._sessions.end_own(visit)
        return response

    async def show_confirmation(self, visit: Visit) -> web.StreamResponse:
        """Answers GET /confirm."""
        return self._page("confirm", visit, visit.request.query.get("next", ""))

    async def confirm(self, visit: Visit) -> web.StreamResponse:
        """Answers POST /confirm."""
        onward = own_path(visit.form.text("next"))
        try:
            await self._attempt(visit, lambda key: self._sessions.confirm(visit.cookie, key))
        except MeshError as error:
            return self._refused("confirm", visit, onward, error)
        raise web.HTTPSeeOther(onward)

    async def sign_out(self, visit: Visit) -> web.StreamResponse:
        """Answers POST /sign-out: the session ends on the server, whoever else has its token."""
        await self._sessions.end_own(visit)
        response = web.Response(status=303, headers={"Location": "/sign-in"})
        self._sessions.forget(response)
        return response

    async def _attempt(self, visit: Visit, check: _Check) -> None:
        """Has a key checked, and counts it; raises MeshError."""
        try:
            self._limits.count(self._address(visit.request))
            await check(_key(visit))
        except MeshError as error:
            limited = error.code is Code.RATE_LIMITED
            SIGN_INS.labels("rate_limited" if limited else "refused").inc()
            raise
        SIGN_INS.labels("signed_in").inc()

    def _page(self, name: str, visit: Visit, onward: str, *, problem: str = "", status: int = 200) -> web.Response:
        return self._renderer.page(
            name, visit, status=status, onward=own_path(onward), problem=problem, with_sign_up=self._with_sign_up
        )

    def _refused(self, name: str, visit: Visit, onward: str, error: MeshError) -> web.Response:
        status = _REFUSALS.get(error.code)
        if status is None:
            raise error
        response = self._page(name, visit, onward, problem=error.message, status=status)
        if error.retry_after:
            response.headers["Retry-After"] = f"{error.retry_after:.0f}"
        return response


def _key(visit: Visit) -> str:
    key = visit.form.text("key")
    if not key:
        raise MeshError(Code.UNAUTHENTICATED, "Enter an API key.")
    return key
