"""Signing in with an API key, showing it once more, and signing out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from services.common.errors import Code, MeshError
from services.common.http.attempt_limits import AttemptLimits
from services.console.http.browser_sessions import BrowserSessions
from services.console.metrics import SIGN_INS
from services.console.page import Page
from services.console.rendering import Renderer
from services.console.sign_in.relying_party import RelyingParty
from services.console.visit import Visit, own_path

# Has a key, a passkey or a code checked; raises MeshError.
_Check = Callable[[], Awaitable[None]]
# Why it is refused; any other error is about the mesh.
_REFUSALS = {
    Code.UNAUTHENTICATED: 403,
    Code.PERMISSION_DENIED: 403,
    Code.RATE_LIMITED: 429,
    Code.INVALID_REQUEST: 400,
    Code.CONFLICT: 409,
}


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
        relying_party: RelyingParty | None,
    ) -> None:
        self._renderer = renderer
        self._sessions = sessions
        self._limits = limits
        self._address = address
        self._with_sign_up = with_sign_up
        self._relying_party = relying_party

    def pages(self) -> tuple[Page, ...]:
        """Returns the routes."""
        return (
            Page(path="/sign-in", name="sign_in", handler=self.show, public=True),
            Page(method="POST", path="/sign-in", name="sign_in", handler=self.sign_in, public=True),
            Page(path="/confirm", name="confirm", handler=self.show_confirmation),
            Page(method="POST", path="/confirm", name="confirm", handler=self.confirm),
            Page(method="POST", path="/sign-out", name="sign_out", handler=self.sign_out, recovering=True),
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
            await self.attempt(visit, lambda: self._sessions.begin(visit.request, _key(visit), response))
        except MeshError as error:
            return self.refused("sign_in", visit, onward, error)
        await self.end_former(visit)
        return response

    async def end_former(self, visit: Visit) -> None:
        """Ends the session that a browser had before it got the token of another: nobody could end it any more."""
        if visit.session is not None:
            await self._sessions.end_own(visit)

    async def show_confirmation(self, visit: Visit) -> web.StreamResponse:
        """Answers GET /confirm."""
        return self._page("confirm", visit, visit.request.query.get("next", ""))

    async def confirm(self, visit: Visit) -> web.StreamResponse:
        """Answers POST /confirm."""
        onward = own_path(visit.form.text("next"))
        try:
            await self.attempt(visit, lambda: self._sessions.confirm(visit.cookie, _key(visit)))
        except MeshError as error:
            return self.refused("confirm", visit, onward, error)
        raise web.HTTPSeeOther(onward)

    async def sign_out(self, visit: Visit) -> web.StreamResponse:
        """Answers POST /sign-out: the session ends on the server, whoever else has its token."""
        await self._sessions.end_own(visit)
        response = web.Response(status=303, headers={"Location": "/sign-in"})
        self._sessions.forget(response)
        return response

    async def attempt(self, visit: Visit, check: _Check) -> None:
        """Has something checked, and counts it; raises MeshError."""
        try:
            self._limits.count(self._address(visit.request))
            await check()
        except MeshError as error:
            limited = error.code is Code.RATE_LIMITED
            SIGN_INS.labels("rate_limited" if limited else "refused").inc()
            raise
        SIGN_INS.labels("signed_in").inc()

    def _page(self, name: str, visit: Visit, onward: str, *, problem: str = "", status: int = 200) -> web.Response:
        return self._renderer.page(
            name,
            visit,
            status=status,
            onward=own_path(onward),
            problem=problem,
            with_sign_up=self._with_sign_up,
            relying_party=self._relying_party,
        )

    def refused(self, name: str, visit: Visit, onward: str, error: MeshError) -> web.Response:
        """Returns a page with why somebody was refused; raises the error if it is about something else."""
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
