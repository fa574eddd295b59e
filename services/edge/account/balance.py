"""GET /v1/balance: what an account owns."""

from __future__ import annotations

from typing import Literal

from aiohttp import web
from msgspec import Struct

from services.common.rpc.replicas import BillingReplicas
from services.edge.authentication import Principal
from services.edge.context import RequestContext
from services.edge.credits import dollars
from services.edge.http.parsing import json_response
from tiermesh.billing.v1 import billing_pb2


class BalanceBody(Struct, frozen=True):
    """What an account owns: credits free to spend, and those held by requests in flight."""

    account_id: str
    credits: int
    held: int
    usd: str
    object: Literal["balance"] = "balance"


class Balances:
    """Serves the route for requests whose key has the balance scope; any replica of billing may answer."""

    def __init__(self, billing: BillingReplicas) -> None:
        self._billing = billing

    async def serve(self, _request: web.Request, _context: RequestContext, principal: Principal) -> web.Response:
        """Answers GET /v1/balance; raises MeshError UNAVAILABLE if no replica answers."""
        asked = billing_pb2.GetBalanceRequest(account_id=principal.account_id)
        response = await self._billing.call(lambda stub: stub.GetBalance, asked)
        return json_response(_body(response.balance))


def _body(balance: billing_pb2.Balance) -> BalanceBody:
    return BalanceBody(
        account_id=balance.account_id,
        credits=balance.available,
        held=balance.held,
        usd=dollars(balance.available),
    )
