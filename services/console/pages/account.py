"""The account: its name, and where it is signed in."""

from __future__ import annotations

from aiohttp import web

from services.console.page import Page
from services.console.rendering import Renderer
from services.console.sessions import Sessions
from services.console.visit import Visit


class Account:
    """Serves the page of the account."""

    def __init__(self, renderer: Renderer, sessions: Sessions) -> None:
        self._renderer = renderer
        self._sessions = sessions

    def pages(self) -> tuple[Page, ...]:
        """Returns the routes."""
        end = "/account/sessions/{session_id:sess_[0-9a-f]{24}}/end"
        return (
            Page(path="/account", name="account", handler=self.show),
            Page(method="POST", path=end, name="end_session", handler=self.end),
            Page(method="POST", path="/account/end-other-sessions", name="end_other_sessions", handler=self.end_others),
        )

    async def show(self, visit: Visit) -> web.StreamResponse:
        """Answers GET /account."""
        sessions = await self._sessions.list(visit.owner.account_id)
        return self._renderer.page("account", visit, sessions=sessions)

    async def end(self, visit: Visit) -> web.StreamResponse:
        """Ends one session; one of another account is left alone."""
        await self._sessions.end(visit.owner.account_id, visit.request.match_info["session_id"])
        raise web.HTTPSeeOther("/account")

    async def end_others(self, visit: Visit) -> web.StreamResponse:
        """Ends every session of the account but this one."""
        await self._sessions.end(visit.owner.account_id, except_session_id=visit.owner.id)
        raise web.HTTPSeeOther("/account")
