"""The gRPC face of sweeps: translate, call, translate back."""

# ruff: noqa: D102, N802 - the contract names the methods and documents them.

from __future__ import annotations

from typing import Any

import grpc

from services.billing.sweeps.sweeps import Sweep, Sweeps
from tiermesh.billing.v1 import sweeps_pb2, sweeps_pb2_grpc

SWEEP_SERVICE_NAME = sweeps_pb2.DESCRIPTOR.services_by_name["SweepService"].full_name

Context = grpc.aio.ServicerContext[Any, Any]


class SweepService(sweeps_pb2_grpc.SweepServiceServicer):
    """Answers every rpc of tiermesh.billing.v1.SweepService."""

    def __init__(self, sweeps: Sweeps) -> None:
        self._sweeps = sweeps

    async def ListDepositBalances(
        self, request: sweeps_pb2.ListDepositBalancesRequest, context: Context
    ) -> sweeps_pb2.ListDepositBalancesResponse:
        del context
        found, more = await self._sweeps.balances(
            request.chain_id, request.token, request.to_block, request.after_position, request.page_size
        )
        balances = [sweeps_pb2.DepositBalance(**each._asdict()) for each in found]
        return sweeps_pb2.ListDepositBalancesResponse(balances=balances, has_more=more)

    async def RecordSweeps(
        self, request: sweeps_pb2.RecordSweepsRequest, context: Context
    ) -> sweeps_pb2.RecordSweepsResponse:
        del context
        sweeps = [_sweep(each) for each in request.sweeps]
        recorded = await self._sweeps.record(request.chain_id, request.token, sweeps)
        return sweeps_pb2.RecordSweepsResponse(recorded=recorded)


def _sweep(message: sweeps_pb2.Sweep) -> Sweep:
    return Sweep(
        *(message.tx_hash, message.log_index, message.block_number, message.block_hash),
        *(message.address, message.receiver, message.atomic),
    )
