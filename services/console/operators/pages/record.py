"""The record of what operators have done."""

from __future__ import annotations

from aiohttp import web

from services.common.errors import Code, MeshError
from services.console.operators.mesh import OperatorMesh
from services.console.page import Page
from services.console.rendering import Renderer
from services.console.visit import Visit

_PAGE = 50
_MOST_CHARACTERS = 200
_FILTERS = ("operator", "action", "subject")
# What people call what is recorded.
ACTIONS = {
    "create_account": "Opened an account",
    "suspend_account": "Suspended an account",
    "resume_account": "Resumed an account",
    "close_account": "Closed an account",
    "reopen_account": "Reopened an account",
    "grant_credits": "Granted credits",
    "create_key": "Created a key",
    "rotate_key": "Rotated a key",
    "revoke_key": "Revoked a key",
    "drain_runner": "Drained a runner",
    "undrain_runner": "Undrained a runner",
    "audit_ledger": "Audited the ledger",
    "create_operator": "Created an operator",
    "remove_operator": "Removed an operator",
}


class Record:
    """Serves the record, newest first, a page at a time."""

    def __init__(self, renderer: Renderer, mesh: OperatorMesh) -> None:
        self._renderer = renderer
        self._mesh = mesh

    def pages(self) -> tuple[Page, ...]:
        """Returns the route."""
        return (Page(path="/record", name="record", handler=self.show),)

    async def show(self, visit: Visit) -> web.StreamResponse:
        """Answers GET /record."""
        query = visit.request.query
        wanted = {name: query.get(name, "").strip()[:_MOST_CHARACTERS] for name in _FILTERS}
        try:
            found = await self._mesh.actions(**wanted, size=_PAGE, page=query.get("page", ""))
        except MeshError as error:
            if error.code is Code.INVALID_REQUEST:
                raise web.HTTPNotFound from error
            raise
        return self._renderer.page(
            "record",
            visit,
            recorded=found.actions,
            wanted=wanted,
            later="page" in query,
            onward=found.next_page_token,
        )
