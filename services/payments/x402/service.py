"""The gRPC face of wallets' payments."""

# ruff: noqa: D102, N802 - the contract names the methods and documents them.

from __future__ import annotations

from typing import Any

import grpc

from services.payments.x402.authorization import Authorization
from services.payments.x402.settlements import Settlements
from tiermesh.payments.v1 import x402_pb2, x402_pb2_grpc

X402_SERVICE_NAME = x402_pb2.DESCRIPTOR.services_by_name["X402Service"].full_name

Context = grpc.aio.ServicerContext[Any, Any]


class X402Service(x402_pb2_grpc.X402ServiceServicer):
    """Answers every rpc of tiermesh.payments.v1.X402Service."""

    def __init__(self, settlements: Settlements, terms: x402_pb2.GetTermsResponse) -> None:
        self._settlements = settlements
        self._terms = terms

    async def GetTerms(self, request: x402_pb2.GetTermsRequest, context: Context) -> x402_pb2.GetTermsResponse:
        del request, context
        return self._terms

    async def ClaimPayment(
        self, request: x402_pb2.ClaimPaymentRequest, context: Context
    ) -> x402_pb2.ClaimPaymentResponse:
        del context
        covered = await self._settlements.claim(
            request.request_id,
            _authorization(request.authorization),
            model=request.model,
            quantity=request.quantity,
            atomic=request.atomic,
            idempotency_key=request.idempotency_key,
        )
        return x402_pb2.ClaimPaymentResponse(covered=covered)

    async def SettlePayment(
        self, request: x402_pb2.SettlePaymentRequest, context: Context
    ) -> x402_pb2.SettlePaymentResponse:
        del context
        tx_hash = await self._settlements.settle(request.request_id, _authorization(request.authorization))
        return x402_pb2.SettlePaymentResponse(tx_hash=tx_hash)

    async def ReleasePayment(
        self, request: x402_pb2.ReleasePaymentRequest, context: Context
    ) -> x402_pb2.ReleasePaymentResponse:
        del context
        await self._settlements.release(request.request_id)
        return x402_pb2.ReleasePaymentResponse()


def _authorization(message: x402_pb2.Authorization) -> Authorization:
    return Authorization(
        *(message.payer.lower(), message.pay_to.lower(), message.atomic, message.valid_after, message.valid_before),
        *(message.nonce.lower(), message.signature),
    )
