"""The list of accounts, searched by name, ID or key, and opening one."""

from __future__ import annotations

import re

from aiohttp import web

from services.common.errors import Code, MeshError
from services.console.mesh import gather
from services.console.operators.actions import Actions
from services.console.operators.mesh import OperatorMesh
from services.console.page import Page
from services.console.rendering import Renderer
from services.console.visit import Visit

ACCOUNT_ID = "acct_[0-9a-f]{24}"
_PAGE = 50
_MOST_CHARACTERS = 200


class Accounts:
    """Serves the list of accounts and the form for a new one."""

    def __init__(self, renderer: Renderer, mesh: OperatorMesh, actions: Actions) -> None:
        self._renderer = renderer
        self._mesh = mesh
        self._actions = actions

    def pages(self) -> tuple[Page, ...]:
        """Returns the routes."""
        return (
            Page(path="/accounts", name="accounts", handler=self.list),
            Page(path="/accounts/new", name="new_account", handler=self.show_form),
            Page(method="POST", path="/accounts/new", name="new_account", handler=self.create),
        )

    async def list(self, visit: Visit) -> web.StreamResponse:
        """Answers GET /accounts: a page of the accounts, newest first; of closed ones with what is left in them."""
        query = visit.request.query
        search, after = query.get("search", "").strip()[:_MOST_CHARACTERS], query.get("after", "")
        if after and not re.fullmatch(ACCOUNT_ID, after):
            raise web.HTTPNotFound
        closed = query.get("state", "") == "closed"
        found = await self._mesh.search_accounts(search, closed=closed, size=_PAGE, after=after)
        # Operators decide about the credits of closed accounts; those of others are on the pages of these.
        asked = [account.id for account in found.accounts] if closed else []
        (balances,) = await gather(self._mesh.balances(asked))
        return self._renderer.page(
            "accounts",
            visit,
            accounts=found.accounts,
            closed=closed,
            balances=None if balances is None else dict(zip(asked, balances, strict=True)),
            search=search,
            after=after,
            onward=found.accounts[-1].id if found.has_more else "",
        )

    async def show_form(self, visit: Visit) -> web.StreamResponse:
        """Answers GET /accounts/new."""
        return self._form(visit)

    async def create(self, visit: Visit) -> web.StreamResponse:
        """Answers POST /accounts/new."""
        name = visit.form.text("name")
        if not name:
            return self._form(visit, problem="Enter a name for the account.", status=400)
        try:
            async with self._actions.recorded(visit, "create_account", detail=name, page="/accounts/new") as act:
                account = await self._mesh.create_account(name)
                act.message = account.id
        except MeshError as error:
            if error.code is not Code.INVALID_REQUEST:
                raise
            return self._form(visit, name=name, problem=error.message, status=400)
        raise web.HTTPSeeOther(f"/accounts/{account.id}")

    def _form(self, visit: Visit, *, name: str = "", problem: str = "", status: int = 200) -> web.Response:
        return self._renderer.page("new_account", visit, status=status, name=name, problem=problem)
