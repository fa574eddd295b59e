"""The gRPC face of deposits: translate, call, translate back."""

# ruff: noqa: D102, N802 - the contract names the methods and documents them.

from __future__ import annotations

from typing import Any

import grpc

from services.billing.deposits import Deposits
from services.billing.ledger.deposit_addresses import DepositAddress, DepositAddresses
from services.billing.ledger.deposits import Cursor, Deposit, RecordDeposits
from services.billing.store.deposit_history import NumberedDeposit
from tiermesh.billing.v1 import deposits_pb2, deposits_pb2_grpc

DEPOSIT_SERVICE_NAME = deposits_pb2.DESCRIPTOR.services_by_name["DepositService"].full_name

Context = grpc.aio.ServicerContext[Any, Any]


class DepositService(deposits_pb2_grpc.DepositServiceServicer):
    """Answers every rpc of tiermesh.billing.v1.DepositService."""

    def __init__(self, deposits: Deposits, addresses: DepositAddresses) -> None:
        self._deposits = deposits
        self._addresses = addresses

    async def GetDepositCursor(
        self, request: deposits_pb2.GetDepositCursorRequest, context: Context
    ) -> deposits_pb2.GetDepositCursorResponse:
        del context
        place = await self._deposits.place(_cursor(request.cursor))
        return deposits_pb2.GetDepositCursorResponse(**place._asdict() if place else {})

    async def RecordDeposits(
        self, request: deposits_pb2.RecordDepositsRequest, context: Context
    ) -> deposits_pb2.RecordDepositsResponse:
        del context
        asked = RecordDeposits(
            *(_cursor(request.cursor), request.from_block, request.to_block, request.parent_hash, request.end_hash),
            tuple(_deposit(each) for each in request.deposits),
        )
        return deposits_pb2.RecordDepositsResponse(credits=await self._deposits.record(asked))

    async def ListDeposits(
        self, request: deposits_pb2.ListDepositsRequest, context: Context
    ) -> deposits_pb2.ListDepositsResponse:
        del context
        found, more = await self._deposits.page(request.account_id, request.before, request.page_size)
        return deposits_pb2.ListDepositsResponse(deposits=map(_recorded, found), has_more=more)

    async def ListAccountDeposits(
        self, request: deposits_pb2.ListAccountDepositsRequest, context: Context
    ) -> deposits_pb2.ListAccountDepositsResponse:
        del context
        found, more = await self._deposits.page_of(request.account_id, request.before, request.page_size)
        return deposits_pb2.ListAccountDepositsResponse(deposits=map(_recorded, found), has_more=more)

    async def GetDepositAddress(
        self, request: deposits_pb2.GetDepositAddressRequest, context: Context
    ) -> deposits_pb2.GetDepositAddressResponse:
        del context
        found, index = await self._addresses.find(request.chain_id, request.account_id, request.xpub_id)
        return deposits_pb2.GetDepositAddressResponse(address=_address(found) if found else None, next_index=index)

    async def AddDepositAddress(
        self, request: deposits_pb2.AddDepositAddressRequest, context: Context
    ) -> deposits_pb2.AddDepositAddressResponse:
        del context
        asked = request.address
        kept = await self._addresses.add(
            asked.chain_id, asked.account_id, asked.address, asked.xpub_id, asked.address_index
        )
        return deposits_pb2.AddDepositAddressResponse(address=_address(kept))

    async def ListDepositAddresses(
        self, request: deposits_pb2.ListDepositAddressesRequest, context: Context
    ) -> deposits_pb2.ListDepositAddressesResponse:
        del context
        found, more = await self._addresses.page(
            request.chain_id, request.account_id, request.after_position, request.page_size
        )
        return deposits_pb2.ListDepositAddressesResponse(addresses=map(_address, found), has_more=more)


def _cursor(message: deposits_pb2.DepositCursor) -> Cursor:
    return Cursor(message.chain_id, message.token, message.watcher)


def _deposit(message: deposits_pb2.Deposit) -> Deposit:
    return Deposit(
        *(message.tx_hash, message.log_index, message.block_number, message.block_hash),
        *(message.sender, message.address, message.atomic),
    )


def _recorded(numbered: NumberedDeposit) -> deposits_pb2.RecordedDeposit:
    row = numbered.deposit
    return deposits_pb2.RecordedDeposit(
        deposit_id=numbered.deposit_id,
        chain_id=row.chain_id,
        token=row.token,
        deposit=deposits_pb2.Deposit(**row.deposit._asdict()),
        account_id=row.account_id,
        credits=row.credits,
        at_ms=row.at_ms,
    )


def _address(address: DepositAddress) -> deposits_pb2.DepositAddress:
    return deposits_pb2.DepositAddress(**address._asdict())
