"""The gRPC face of wallets' payments: translate, call, translate back."""

# ruff: noqa: D102, N802 - the contract names the methods and documents them.

from __future__ import annotations

from typing import Any

import grpc

from services.billing.ledger import refusals
from services.billing.ledger.wallet_payments import PaymentState, SettleWalletPayment, WalletPayment
from services.billing.wallet_payments.payments import WalletPayments
from tiermesh.billing.v1 import wallet_payments_pb2 as proto
from tiermesh.billing.v1 import wallet_payments_pb2_grpc

WALLET_PAYMENT_SERVICE_NAME = proto.DESCRIPTOR.services_by_name["WalletPaymentService"].full_name
_PREFIX = "WALLET_PAYMENT_STATE_"

Context = grpc.aio.ServicerContext[Any, Any]


class WalletPaymentService(wallet_payments_pb2_grpc.WalletPaymentServiceServicer):
    """Answers every rpc of tiermesh.billing.v1.WalletPaymentService."""

    def __init__(self, payments: WalletPayments) -> None:
        self._payments = payments

    async def ClaimWalletPayment(
        self, request: proto.ClaimWalletPaymentRequest, context: Context
    ) -> proto.ClaimWalletPaymentResponse:
        del context
        outstanding, covered = await self._payments.claim(_payment(request.payment), balance_only=request.balance_only)
        return proto.ClaimWalletPaymentResponse(outstanding_atomic=outstanding, covered=covered)

    async def SendWalletPayment(
        self, request: proto.SendWalletPaymentRequest, context: Context
    ) -> proto.SendWalletPaymentResponse:
        del context
        await self._payments.send(
            request.request_id,
            relayer=request.relayer,
            relayer_nonce=request.relayer_nonce,
            raw_transaction=request.raw_transaction,
            tx_hash=request.tx_hash,
        )
        return proto.SendWalletPaymentResponse()

    async def SettleWalletPayment(
        self, request: proto.SettleWalletPaymentRequest, context: Context
    ) -> proto.SettleWalletPaymentResponse:
        del context
        await self._payments.settle(
            SettleWalletPayment(
                *(request.request_id, request.tx_hash, request.log_index),
                *(request.block_number, request.block_hash),
            )
        )
        return proto.SettleWalletPaymentResponse()

    async def EndWalletPayment(
        self, request: proto.EndWalletPaymentRequest, context: Context
    ) -> proto.EndWalletPaymentResponse:
        del context
        await self._payments.end(request.request_id, _state(request.state))
        return proto.EndWalletPaymentResponse()

    async def GetWalletPayment(
        self, request: proto.GetWalletPaymentRequest, context: Context
    ) -> proto.GetWalletPaymentResponse:
        del context
        return proto.GetWalletPaymentResponse(payment=_message(await self._payments.find(request.request_id)))

    async def ListWalletPayments(
        self, request: proto.ListWalletPaymentsRequest, context: Context
    ) -> proto.ListWalletPaymentsResponse:
        del context
        found = await self._payments.page(_state(request.state), request.after_request_id, request.page_size)
        return proto.ListWalletPaymentsResponse(payments=map(_message, found))

    async def GetRelayerNonce(
        self, request: proto.GetRelayerNonceRequest, context: Context
    ) -> proto.GetRelayerNonceResponse:
        del context
        nonce = await self._payments.next_nonce(request.chain_id, request.relayer)
        return proto.GetRelayerNonceResponse(relayer_nonce=nonce)


def _state(value: proto.WalletPaymentState.ValueType) -> PaymentState:
    try:
        return PaymentState(proto.WalletPaymentState.Name(value).removeprefix(_PREFIX).lower())
    except ValueError as error:
        raise refusals.invalid("state", "must be one of those that the contract lists") from error


def _payment(message: proto.WalletPayment) -> WalletPayment:
    """Returns a payment that is offered; price and time are the ledger's."""
    return WalletPayment(
        chain_id=message.chain_id,
        token=message.token,
        payer=message.payer,
        nonce=message.nonce,
        pay_to=message.pay_to,
        atomic=message.atomic,
        valid_before=message.valid_before,
        from_block=message.from_block,
        request_id=message.request_id,
        account_id=message.account_id,
        model=message.model,
        quantity=message.quantity,
        unit_price=0,
        idempotency_key=message.idempotency_key or None,
        claimed_ms=0,
    )


def _message(payment: WalletPayment) -> proto.WalletPayment:
    return proto.WalletPayment(
        chain_id=payment.chain_id,
        token=payment.token,
        payer=payment.payer,
        nonce=payment.nonce,
        pay_to=payment.pay_to,
        atomic=payment.atomic,
        valid_before=payment.valid_before,
        from_block=payment.from_block,
        request_id=payment.request_id,
        account_id=payment.account_id,
        model=payment.model,
        quantity=payment.quantity,
        idempotency_key=payment.idempotency_key or "",
        state=proto.WalletPaymentState.Value(_PREFIX + payment.state.upper()),
        relayer=payment.relayer or "",
        relayer_nonce=payment.relayer_nonce or 0,
        raw_transaction=payment.raw_transaction or "",
        tx_hash=payment.tx_hash or "",
    )
