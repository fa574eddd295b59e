"""What each request has cost: the receipt of one, and every movement of the account's credits."""

from __future__ import annotations

import re

from aiohttp import web

from services.common.errors import Code, MeshError
from services.console.mesh import Mesh
from services.console.page import Page
from services.console.rendering import Renderer
from services.console.signed_receipts.checking import Checked, ReceiptCheck
from services.console.visit import Visit
from tiermesh.billing.v1 import billing_pb2

_REQUEST_ID = re.compile(r"req_[0-9a-f]{32}")
_PAGE_TOKEN = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,18}){2}")
_PAGE = 100
OUTCOMES = {
    billing_pb2.OUTCOME_UNSPECIFIED: "running",
    billing_pb2.OUTCOME_COMPLETED: "completed",
    billing_pb2.OUTCOME_EMPTY: "completed without any output",
    billing_pb2.OUTCOME_CLIENT_LEFT_LATE: "the client disconnected after the first token",
    billing_pb2.OUTCOME_CLIENT_LEFT_EARLY: "the client disconnected before the first token",
    billing_pb2.OUTCOME_FAILED: "failed",
    billing_pb2.OUTCOME_EXPIRED: "expired: the server that handled it stopped",
}
# What moves the credits that an account can spend, as people call it.
KINDS = {
    "grant": "Credits granted",
    "deposit": "Deposit",
    "payout": "Paid out to the wallet",
    "reserve": "Price of a request",
    "release": "Returned, because the request was not charged",
    "refund": "Refunded",
}


class Receipts:
    """Serves receipts; one of another account does not exist."""

    def __init__(self, renderer: Renderer, mesh: Mesh, check: ReceiptCheck | None = None) -> None:
        """Without `check`, signed receipts are not checked here."""
        self._renderer = renderer
        self._mesh = mesh
        self._check = check

    def pages(self) -> tuple[Page, ...]:
        """Returns the routes."""
        pages = (Page(path="/receipts", name="receipts", handler=self.show),)
        if self._check is None:
            return pages
        return (*pages, Page(method="POST", path="/receipts/verify", name="verify_receipt", handler=self.verify))

    async def show(self, visit: Visit) -> web.StreamResponse:
        """Answers GET /receipts: with `id` the receipt of one request, otherwise a page of movements."""
        request_id = visit.request.query.get("id", "").strip()
        if not request_id:
            return await self._movements(visit)
        receipt = await self._receipt(visit, request_id)
        return self._page(visit, request_id, receipt=receipt, status=200 if receipt else 404)

    async def verify(self, visit: Visit) -> web.StreamResponse:
        """Answers POST /receipts/verify: says whether a signed receipt is genuine, and what it says."""
        if self._check is None:
            raise web.HTTPNotFound
        checked = await self._check.check(visit.form.text("receipt"))
        return self._page(visit, "", checked=checked, status=400 if checked.problem else 200)

    async def _receipt(self, visit: Visit, request_id: str) -> billing_pb2.Receipt | None:
        if not _REQUEST_ID.fullmatch(request_id):
            return None
        try:
            return await self._mesh.receipt(visit.owner.account_id, request_id)
        except MeshError as error:
            if error.code is Code.NOT_FOUND:
                return None
            raise

    async def _movements(self, visit: Visit) -> web.Response:
        token = visit.request.query.get("page", "")
        if token and not _PAGE_TOKEN.fullmatch(token):
            raise web.HTTPNotFound
        found = await self._mesh.entries(visit.owner.account_id, size=_PAGE, page_token=token)
        # Each movement between the two pockets is told once, by what it does to the credits that can be spent.
        movements = [each for each in found.entries if each.entry.pocket == "available"]
        return self._page(visit, "", movements=movements, later=bool(token), onward=found.next_page_token)

    def _page(
        self,
        visit: Visit,
        request_id: str,
        *,
        receipt: billing_pb2.Receipt | None = None,
        movements: list[billing_pb2.AccountEntry] | None = None,
        checked: Checked | None = None,
        later: bool = False,
        onward: str = "",
        status: int = 200,
    ) -> web.Response:
        return self._renderer.page(
            "receipts",
            visit,
            status=status,
            request_id=request_id,
            receipt=receipt,
            movements=movements,
            can_check=self._check is not None,
            checked=checked,
            later=later,
            onward=onward,
            outcomes=OUTCOMES,
            kinds=KINDS,
            is_request=_REQUEST_ID.fullmatch,
        )
