"""The gRPC face of payments."""

# ruff: noqa: D102, N802 - the contract names the methods and documents them.

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

from services.common.errors import Code, MeshError
from services.payments.addresses import Addresses
from services.payments.settings import PaymentsSettings
from tiermesh.payments.v1 import payments_pb2, payments_pb2_grpc

SERVICE_NAME = payments_pb2.DESCRIPTOR.services_by_name["PaymentsService"].full_name

Context = grpc.aio.ServicerContext[Any, Any]


class PaymentsService(payments_pb2_grpc.PaymentsServiceServicer):
    """Answers every rpc of tiermesh.payments.v1.PaymentsService. `begun` says whether all watchers have begun."""

    def __init__(self, addresses: Addresses, settings: PaymentsSettings, begun: Callable[[], bool]) -> None:
        self._addresses = addresses
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
        )
