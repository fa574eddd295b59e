"""The ledger: what it adds up to, whether it is sound, and what has arrived from a chain."""

from __future__ import annotations

import re

from aiohttp import web

from services.common.token_amount import token_text
from services.console.mesh import gather
from services.console.operators.actions import Actions
from services.console.operators.mesh import OperatorMesh
from services.console.page import Page
from services.console.rendering import Renderer
from services.console.visit import Visit
from tiermesh.billing.v1 import billing_pb2

_LAST = 10
_DEPOSITS = 20
_DEPOSIT_ID = re.compile(r"[1-9][0-9]{0,17}")


class Money:
    """Serves the ledger's figures. They come from an audit, because only that adds up the ledger."""

    def __init__(self, renderer: Renderer, mesh: OperatorMesh, actions: Actions) -> None:
        self._renderer = renderer
        self._mesh = mesh
        self._actions = actions

    def pages(self) -> tuple[Page, ...]:
        """Returns the routes."""
        return (
            Page(path="/money", name="money", handler=self.show),
            Page(method="POST", path="/money/audit", name="audit", handler=self.audit),
        )

    async def show(self, visit: Visit) -> web.StreamResponse:
        """Answers GET /money."""
        return await self._page(visit, None)

    async def audit(self, visit: Visit) -> web.StreamResponse:
        """Has the ledger checked, and shows the result."""
        async with self._actions.recorded(visit, "audit_ledger", page="/money") as act:
            found = await self._mesh.audit()
            verdict = f"{len(found.violations):,} violations" if found.violations else "sound"
            act.message = f"{verdict}, {found.entries:,} entries, {found.accounts:,} accounts"
        return await self._page(visit, found)

    async def _page(self, visit: Visit, found: billing_pb2.AuditResponse | None) -> web.Response:
        before = visit.request.query.get("before", "")
        if before and not _DEPOSIT_ID.fullmatch(before):
            raise web.HTTPNotFound
        last, deposits = await gather(
            self._mesh.actions(action="audit_ledger", size=_LAST),
            self._mesh.deposits(size=_DEPOSITS, before=int(before or 0)),
        )
        return self._renderer.page(
            "money",
            visit,
            found=found,
            last=None if last is None else last.actions,
            deposits=None if deposits is None else deposits.deposits,
            onward=deposits.deposits[-1].deposit_id if deposits is not None and deposits.has_more else "",
            later=bool(before),
            token_text=token_text,
        )
