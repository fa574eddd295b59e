"""The page on which owners top up: the deposit address, what is on its way to it, and what has come."""

from __future__ import annotations

import re

from aiohttp import web

from services.common.errors import Code, MeshError
from services.common.token_amount import token_text
from services.console.mesh import gather
from services.console.page import Page
from services.console.rendering import Renderer
from services.console.top_up.deposits import Deposits, not_credited
from services.console.top_up.qr_code import qr_code
from services.console.visit import Visit

_PAGE = 50
_DEPOSIT_ID = re.compile(r"[1-9][0-9]{0,17}")
# Why no address was created, if that passes.
_PASSES = {Code.UNAVAILABLE, Code.OVERLOADED, Code.DEADLINE_EXCEEDED}


class TopUp:
    """Serves the page. What cannot be read at the moment is said to be so, with what happened to the money."""

    def __init__(self, renderer: Renderer, deposits: Deposits) -> None:
        self._renderer = renderer
        self._deposits = deposits

    def pages(self) -> tuple[Page, ...]:
        """Returns the routes."""
        return (
            Page(path="/top-up", name="top_up", handler=self.show),
            Page(method="POST", path="/top-up/address", name="create_deposit_address", handler=self.create),
        )

    async def show(self, visit: Visit) -> web.StreamResponse:
        """Answers GET /top-up; `before` is where a page of older deposits begins."""
        before = visit.request.query.get("before", "")
        if before and not _DEPOSIT_ID.fullmatch(before):
            raise web.HTTPNotFound
        return await self._page(visit, before=int(before or 0))

    async def create(self, visit: Visit) -> web.StreamResponse:
        """Answers POST /top-up/address. An account that has an address keeps it."""
        try:
            await self._deposits.create_address(visit.owner.account_id)
        except MeshError as error:
            if error.code is Code.NOT_FOUND:
                raise web.HTTPNotFound from error
            if error.code not in _PASSES:
                raise
            message = "The address could not be created at the moment. Try again in a few seconds."
            return await self._page(visit, problem=message, status=503)
        raise web.HTTPSeeOther("/top-up")

    async def _page(self, visit: Visit, *, before: int = 0, problem: str = "", status: int = 200) -> web.Response:
        account_id = visit.owner.account_id
        terms, pending = await gather(
            self._deposits.terms(account_id), _nothing() if before else self._deposits.pending(account_id)
        )
        # After what is on its way: what is credited meanwhile is then in both, and is left out of the first.
        credited, grants = await gather(
            self._deposits.credited(account_id, size=_PAGE, before=before), self._deposits.grants(account_id, _PAGE)
        )
        return self._renderer.page(
            "top_up",
            visit,
            status=status,
            problem=problem,
            taken=self._deposits.are_taken,
            terms=terms,
            qr=qr_code(terms.address) if terms is not None and terms.address else None,
            pending=pending,
            coming=[] if pending is None else not_credited(pending, () if credited is None else credited.deposits),
            credited=credited,
            grants=grants,
            later=bool(before),
            tokens=token_text,
            duration=duration,
        )


async def _nothing() -> None:
    """Reads nothing, for a page of older deposits, which does not show what is on its way."""


def duration(seconds: int) -> str:
    """Returns about how long something takes, as people say it."""
    if seconds < 90:
        return "about a minute" if seconds > 30 else "less than a minute"
    minutes = round(seconds / 60)
    return f"about {minutes} minutes" if minutes < 90 else f"about {round(minutes / 60)} hours"
