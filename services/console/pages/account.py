"""The account: its name, what signs in to it, and where it is signed in."""

from __future__ import annotations

from aiohttp import web

from services.common.errors import Code, MeshError
from services.console.mesh import gather
from services.console.page import Page
from services.console.rendering import Renderer
from services.console.sessions import Sessions
from services.console.sign_in.methods import SignInMethods
from services.console.sign_in.relying_party import why_none
from services.console.visit import Visit


class Account:
    """Serves the page of the account."""

    def __init__(self, renderer: Renderer, sessions: Sessions, methods: SignInMethods) -> None:
        self._renderer = renderer
        self._sessions = sessions
        self._methods = methods

    def pages(self) -> tuple[Page, ...]:
        """Returns the routes."""
        end = "/account/sessions/{session_id:sess_[0-9a-f]{24}}/end"
        return (
            Page(path="/account", name="account", handler=self.show),
            Page(method="POST", path="/account/name", name="rename_account", handler=self.rename),
            Page(method="POST", path=end, name="end_session", handler=self.end),
            Page(method="POST", path="/account/end-other-sessions", name="end_other_sessions", handler=self.end_others),
        )

    async def show(self, visit: Visit) -> web.StreamResponse:
        """Answers GET /account."""
        return await self.page(visit)

    async def page(self, visit: Visit, *, problem: str = "", status: int = 200) -> web.Response:
        """Returns the page, perhaps with why something was not done."""
        account_id = visit.owner.account_id
        sessions = await self._sessions.list(account_id)
        (methods,) = await gather(self._methods.list(account_id))
        return self._renderer.page(
            "account",
            visit,
            status=status,
            sessions=sessions,
            methods=methods,
            relying_party=self._methods.relying_party,
            why_no_passkeys=why_none(),
            problem=problem,
        )

    async def rename(self, visit: Visit) -> web.StreamResponse:
        """Gives the account another name."""
        name = visit.form.text("name")
        if not name:
            return await self.page(visit, problem="Enter a name for the account.", status=400)
        try:
            await self._sessions.rename_account(visit, name)
        except MeshError as error:
            if error.code is not Code.INVALID_REQUEST:
                raise
            return await self.page(visit, problem=error.message, status=400)
        raise web.HTTPSeeOther("/account")

    async def end(self, visit: Visit) -> web.StreamResponse:
        """Ends one session; one of another account is left alone."""
        await self._sessions.end(visit.owner.account_id, visit.request.match_info["session_id"])
        raise web.HTTPSeeOther("/account")

    async def end_others(self, visit: Visit) -> web.StreamResponse:
        """Ends every session of the account but this one."""
        await self._sessions.end(visit.owner.account_id, except_session_id=visit.owner.id)
        raise web.HTTPSeeOther("/account")
