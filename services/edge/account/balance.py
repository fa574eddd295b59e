"""Asks billing what an account owns, for GET /v1/balance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from msgspec import Struct

from services.common.rpc.channels import OpenChannel
from services.edge.account.models import CREDITS_PER_DOLLAR
from services.edge.account.replicas import Replicas
from tiermesh.billing.v1 import billing_pb2, billing_pb2_grpc

# The generated class of asynchronous stubs exists for type checkers only.
BillingReplicas: TypeAlias = "Replicas[billing_pb2_grpc.BillingServiceAsyncStub]"


def billing_replicas(addresses: Sequence[str], open_channel: OpenChannel, timeout: float) -> BillingReplicas:
    """Returns the replicas of billing for what is not a hot path."""
    return Replicas("Billing", addresses, open_channel, billing_pb2_grpc.BillingServiceStub, timeout)


class BalanceBody(Struct, frozen=True):
    """What an account owns: credits free to spend, and those held by requests in flight."""

    account_id: str
    credits: int
    held: int
    usd: str
    object: Literal["balance"] = "balance"


class Balances:
    """Reads balances from any replica of billing; not a hot path."""

    def __init__(self, billing: BillingReplicas) -> None:
        self._billing = billing

    async def get(self, account_id: str) -> BalanceBody:
        """Returns the body for an account; raises MeshError UNAVAILABLE if no replica answers."""
        request = billing_pb2.GetBalanceRequest(account_id=account_id)
        response = await self._billing.call(lambda stub: stub.GetBalance, request)
        return _body(response.balance)


def _body(balance: billing_pb2.Balance) -> BalanceBody:
    return BalanceBody(
        account_id=balance.account_id,
        credits=balance.available,
        held=balance.held,
        usd=f"{balance.available / CREDITS_PER_DOLLAR:.2f}",
    )
