"""Asks billing what an account owns, for GET /v1/balance."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import grpc

from services.common.channels import OpenChannel
from services.common.errors import Code, MeshError
from services.common.interceptors import call_unary
from services.edge.models import CREDITS_PER_DOLLAR
from tiermesh.billing.v1 import billing_pb2, billing_pb2_grpc


class Balances:
    """Reads balances from any replica of billing; not a hot path."""

    def __init__(self, addresses: Sequence[str], open_channel: OpenChannel, timeout: float) -> None:
        self._addresses = addresses
        self._open_channel = open_channel
        self._timeout = timeout
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._turn = itertools.count()

    async def get(self, account_id: str) -> dict[str, Any]:
        """Returns the body for an account; raises MeshError UNAVAILABLE if no replica answers."""
        request = billing_pb2.GetBalanceRequest(account_id=account_id)
        first = next(self._turn)
        for offset in range(len(self._addresses)):
            stub = self._stub(self._addresses[(first + offset) % len(self._addresses)])
            try:
                response = await call_unary(stub.GetBalance(request, timeout=self._timeout))
            except MeshError as error:
                if error.code not in {Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED}:
                    raise
            else:
                return _body(response.balance)
        raise MeshError(Code.UNAVAILABLE, "Billing cannot be reached; try again shortly.", retry_after=1.0)

    async def close(self) -> None:
        """Closes the connections."""
        for channel in self._channels.values():
            await channel.close()

    def _stub(self, address: str) -> billing_pb2_grpc.BillingServiceAsyncStub:
        channel = self._channels.get(address)
        if channel is None:
            channel = self._channels[address] = self._open_channel(address)
        return billing_pb2_grpc.BillingServiceStub(channel)


def _body(balance: billing_pb2.Balance) -> dict[str, Any]:
    return {
        "object": "balance",
        "account_id": balance.account_id,
        "credits": balance.available,
        "held": balance.held,
        "usd": f"{balance.available / CREDITS_PER_DOLLAR:.2f}",
    }
