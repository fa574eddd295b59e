"""The gRPC face of payouts: translate, call, translate back."""

# ruff: noqa: D102, N802 - the contract names the methods and documents them.

from __future__ import annotations

from typing import Any

import grpc

from services.billing.payouts.payouts import Payouts
from tiermesh.billing.v1 import payouts_pb2 as proto
from tiermesh.billing.v1 import payouts_pb2_grpc

PAYOUT_SERVICE_NAME = proto.DESCRIPTOR.services_by_name["PayoutService"].full_name

Context = grpc.aio.ServicerContext[Any, Any]


class PayoutService(payouts_pb2_grpc.PayoutServiceServicer):
    """Answers every rpc of tiermesh.billing.v1.PayoutService."""

    def __init__(self, payouts: Payouts) -> None:
        self._payouts = payouts

    async def ListWalletBalances(
        self, request: proto.ListWalletBalancesRequest, context: Context
    ) -> proto.ListWalletBalancesResponse:
        del context
        found, more = await self._payouts.balances(request.after_account_id, request.page_size)
        balances = [
            proto.WalletBalance(
                account_id=each.account_id, available=each.available, held=each.held, owed_atomic=each.owed
            )
            for each in found
        ]
        return proto.ListWalletBalancesResponse(balances=balances, has_more=more)

    async def OpenPayout(self, request: proto.OpenPayoutRequest, context: Context) -> proto.OpenPayoutResponse:
        del context
        payout = await self._payouts.open(request.account_id)
        return proto.OpenPayoutResponse(
            payout=proto.Payout(
                payout_id=payout.payout_id,
                account_id=payout.account_id,
                chain_id=payout.chain_id,
                token=payout.token,
                wallet=payout.wallet,
                treasury=payout.treasury,
                credits=payout.credits,
                atomic=payout.atomic,
                at_ms=payout.at_ms,
            )
        )

    async def RecordPayout(self, request: proto.RecordPayoutRequest, context: Context) -> proto.RecordPayoutResponse:
        del context
        recorded = await self._payouts.record(
            *(request.payout_id, request.tx_hash, request.log_index, request.block_number, request.block_hash)
        )
        return proto.RecordPayoutResponse(recorded=recorded)
