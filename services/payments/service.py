"""The gRPC face of payments."""

# ruff: noqa: D102, N802 - the contract names the methods and documents them.

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

from services.common.errors import Code, MeshError
from services.payments.addresses import Addresses
from services.payments.billing import MOST_ATOMIC
from services.payments.chain.node import Transfer
from services.payments.pending import PendingDeposits
from services.payments.settings import PaymentsSettings
from tiermesh.payments.v1 import payments_pb2, payments_pb2_grpc

SERVICE_NAME = payments_pb2.DESCRIPTOR.services_by_name["PaymentsService"].full_name
# What a role may call, if it is not everything.
LIMITED_CALLERS = {
    "edge": ("GetTerms", "ClaimPayment", "SettlePayment", "ReleasePayment"),
    "console": ("GetDepositAddress", "FindDepositAddress", "ListPendingDeposits"),
}

Context = grpc.aio.ServicerContext[Any, Any]


class PaymentsService(payments_pb2_grpc.PaymentsServiceServicer):
    """Answers every rpc of tiermesh.payments.v1.PaymentsService. `begun` says whether all watchers have begun."""

    def __init__(
        self, addresses: Addresses, pending: PendingDeposits, settings: PaymentsSettings, begun: Callable[[], bool]
    ) -> None:
        self._addresses = addresses
        self._pending = pending
        self._settings = settings
        self._begun = begun

    async def GetDepositAddress(
        self, request: payments_pb2.GetDepositAddressRequest, context: Context
    ) -> payments_pb2.GetDepositAddressResponse:
        del context
        if not self._begun():
            # A watcher begins at the last final block: what arrived before it would be lost.
            message = "The chain is not watched yet, so that a deposit could be lost. Try again shortly."
            raise MeshError(Code.UNAVAILABLE, message, retry_after=5.0)
        return payments_pb2.GetDepositAddressResponse(
            address=await self._addresses.of(request.account_id),
            chain_id=self._settings.chain_id,
            token=self._settings.token,
            token_name=self._settings.token_name,
            chain_name=self._settings.name_of_chain,
        )

    async def FindDepositAddress(
        self, request: payments_pb2.FindDepositAddressRequest, context: Context
    ) -> payments_pb2.FindDepositAddressResponse:
        del context
        return payments_pb2.FindDepositAddressResponse(
            address=await self._addresses.find(request.account_id),
            chain_id=self._settings.chain_id,
            token=self._settings.token,
            token_name=self._settings.token_name,
            chain_name=self._settings.name_of_chain,
        )

    async def ListPendingDeposits(
        self, request: payments_pb2.ListPendingDepositsRequest, context: Context
    ) -> payments_pb2.ListPendingDepositsResponse:
        del context
        address = await self._addresses.find(request.account_id)
        if not address:
            return payments_pb2.ListPendingDepositsResponse()
        found = await self._pending.of(address)
        return payments_pb2.ListPendingDepositsResponse(
            deposits=[_pending(each, found.final_block) for each in found.transfers],
            finality_seconds=found.finality_seconds,
        )


def _pending(transfer: Transfer, final_block: int) -> payments_pb2.PendingDeposit:
    return payments_pb2.PendingDeposit(
        tx_hash=transfer.tx_hash,
        log_index=transfer.log_index,
        block_number=transfer.block_number,
        atomic=min(transfer.atomic, MOST_ATOMIC),
        final=transfer.block_number <= final_block,
    )
