"""What the console asks about the money that comes to an account."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from services.common.errors import Code, MeshError
from services.common.rpc.replicas import BillingReplicas, DepositReplicas, PaymentsReplicas
from tiermesh.billing.v1 import billing_pb2, deposits_pb2
from tiermesh.payments.v1 import payments_pb2


class Transfer(NamedTuple):
    """What makes a transfer one: no two have the same."""

    tx_hash: str
    log_index: int


class Deposits:
    """Asks payments and billing. Every method raises MeshError, UNAVAILABLE if no replica answers.

    Without `payments`, the operator takes no deposits; what came in before is still shown.
    """

    def __init__(self, payments: PaymentsReplicas | None, deposits: DepositReplicas, billing: BillingReplicas) -> None:
        self._payments = payments
        self._deposits = deposits
        self._billing = billing

    @property
    def are_taken(self) -> bool:
        """Whether the operator takes deposits."""
        return self._payments is not None

    async def terms(self, account_id: str) -> payments_pb2.FindDepositAddressResponse | None:
        """Returns the address of an account, empty if it has none, and what to send there; None without payments."""
        if self._payments is None:
            return None
        asked = payments_pb2.FindDepositAddressRequest(account_id=account_id)
        return await self._payments.call(lambda stub: stub.FindDepositAddress, asked)

    async def create_address(self, account_id: str) -> None:
        """Gives an account its address, unless it has one; raises MeshError NOT_FOUND without payments."""
        if self._payments is None:
            raise MeshError(Code.NOT_FOUND, "This service takes no deposits.")
        asked = payments_pb2.GetDepositAddressRequest(account_id=account_id)
        await self._payments.call(lambda stub: stub.GetDepositAddress, asked)

    async def pending(self, account_id: str) -> payments_pb2.ListPendingDepositsResponse | None:
        """Returns what is on its way to an account; None without payments."""
        if self._payments is None:
            return None
        asked = payments_pb2.ListPendingDepositsRequest(account_id=account_id)
        return await self._payments.call(lambda stub: stub.ListPendingDeposits, asked)

    async def credited(self, account_id: str, *, size: int, before: int) -> deposits_pb2.ListAccountDepositsResponse:
        """Returns a page of the deposits that an account has received, newest first."""
        asked = deposits_pb2.ListAccountDepositsRequest(account_id=account_id, page_size=size, before=before)
        return await self._deposits.call(lambda stub: stub.ListAccountDeposits, asked)

    async def grants(self, account_id: str, size: int) -> billing_pb2.ListGrantsResponse:
        """Returns the newest grants of an account, newest first."""
        asked = billing_pb2.ListGrantsRequest(account_id=account_id, page_size=size)
        return await self._billing.call(lambda stub: stub.ListGrants, asked)


def not_credited(
    pending: payments_pb2.ListPendingDepositsResponse, credited: Collection[deposits_pb2.RecordedDeposit]
) -> list[payments_pb2.PendingDeposit]:
    """Returns what is on its way, without what was credited since it was read."""
    known = {Transfer(each.deposit.tx_hash, each.deposit.log_index) for each in credited}
    return [each for each in pending.deposits if Transfer(each.tx_hash, each.log_index) not in known]
