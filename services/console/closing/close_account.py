"""Closing the account: what happens to everything is said before, and the owner types that it is meant."""

from __future__ import annotations

from aiohttp import web

from services.common.errors import Code, MeshError
from services.console.freshness import Freshness
from services.console.mesh import Mesh, gather
from services.console.page import Page
from services.console.rendering import Renderer
from services.console.sessions import Sessions
from services.console.visit import Visit

_PATH = "/account/close"
# What the owner types. Nobody does so by mistake, and it can be typed on every keyboard, as a name may not.
CONFIRMATION = "close my account"


class CloseAccount:
    """Serves the page on which an account is closed. Auth decides whether this session may do so."""

    def __init__(self, renderer: Renderer, mesh: Mesh, sessions: Sessions, freshness: Freshness) -> None:
        self._renderer = renderer
        self._mesh = mesh
        self._sessions = sessions
        self._freshness = freshness

    def pages(self) -> tuple[Page, ...]:
        """Returns the routes."""
        return (
            Page(path=_PATH, name="close_account", handler=self.show),
            Page(method="POST", path=_PATH, name="close_account", handler=self.close),
        )

    async def show(self, visit: Visit) -> web.StreamResponse:
        """Answers GET /account/close."""
        self._freshness.demand(visit, _PATH)
        return await self._page(visit)

    async def close(self, visit: Visit) -> web.StreamResponse:
        """Answers POST /account/close: the last page of the session."""
        self._freshness.demand(visit, _PATH)
        if visit.form.text("confirmation").casefold() != CONFIRMATION:
            return await self._page(visit, problem=f"Type “{CONFIRMATION}” into the field to close it.", status=400)
        try:
            await self._sessions.close_account(visit)
        except MeshError as error:
            if error.code is not Code.PERMISSION_DENIED:
                raise
            return await self._page(visit, problem=error.message, status=403)
        # Nobody is signed in any more, and the page has no form.
        stranger = Visit(visit.request, cookie="")
        response = self._renderer.page("closing/closed", stranger, account_id=visit.owner.account_id)
        self._sessions.forget(response)
        return response

    async def _page(self, visit: Visit, *, problem: str = "", status: int = 200) -> web.Response:
        (balance,) = await gather(self._mesh.balance(visit.owner.account_id))
        return self._renderer.page(
            "closing/ask", visit, status=status, balance=balance, confirmation=CONFIRMATION, problem=problem
        )
