"""Calls a billing process as the edge and the command line do."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from services.common.batch import BatchClient
from services.common.errors import MeshError
from services.common.rpc.channels import channel_opener
from services.common.rpc.interceptors import call_unary
from services.common.settings import TlsSettings
from tiermesh.billing.v1 import billing_pb2, billing_pb2_grpc

PRO = "tiermesh-pro"
PRICE = 10


class BillingClient:
    """One edge, with one stream to each address."""

    def __init__(self, *addresses: str) -> None:
        open_channel = channel_opener(TlsSettings())
        self.stream = BatchClient[billing_pb2.TransactCall, billing_pb2.TransactReply](
            "billing.transact",
            addresses,
            open_channel=open_channel,
            open_stream=lambda channel: billing_pb2_grpc.BillingServiceStub(channel).Transact(),
            new_frame=billing_pb2.TransactRequest,
            retry=True,
        )
        self._channel = open_channel(addresses[0])
        self.unary = billing_pb2_grpc.BillingServiceStub(self._channel)

    async def transact(self, call: billing_pb2.TransactCall, timeout: float = 10.0) -> billing_pb2.TransactReply:
        """Makes a call on the stream; raises the MeshError that the reply carries."""
        reply = await self.stream.request(call, timeout)
        if reply.HasField("error"):
            raise MeshError.from_proto(reply.error)
        return reply

    async def reserve(
        self, request_id: str, account_id: str = "acct", model: str = PRO, quantity: int = 0
    ) -> billing_pb2.TransactReply:
        """Holds the price of a request."""
        return await self.transact(
            billing_pb2.TransactCall(
                reserve=billing_pb2.Reserve(
                    request_id=request_id, account_id=account_id, key_id="key", model=model, quantity=quantity
                )
            )
        )

    async def settle(
        self, request_id: str, outcome: billing_pb2.Outcome.ValueType = billing_pb2.OUTCOME_COMPLETED
    ) -> billing_pb2.TransactReply:
        """Ends a hold."""
        settle = billing_pb2.Settle(request_id=request_id, outcome=outcome, prompt_tokens=3, runner_id="runner")
        return await self.transact(billing_pb2.TransactCall(settle=settle))

    async def grant(self, amount: int, account_id: str = "acct", grant_id: str = "") -> billing_pb2.GrantResponse:
        """Adds credits."""
        request = billing_pb2.GrantRequest(account_id=account_id, credits=amount, grant_id=grant_id, note="a test")
        return await call_unary(self.unary.Grant(request))

    async def balance(self, account_id: str = "acct") -> tuple[int, int]:
        """Returns the available and the held credits."""
        response = await call_unary(self.unary.GetBalance(billing_pb2.GetBalanceRequest(account_id=account_id)))
        return response.balance.available, response.balance.held

    async def receipt(self, request_id: str, account_id: str = "acct") -> billing_pb2.Receipt:
        """Returns what is kept of a request."""
        request = billing_pb2.GetRequestRequest(account_id=account_id, request_id=request_id)
        return (await call_unary(self.unary.GetRequest(request))).receipt

    async def audit(self) -> billing_pb2.AuditResponse:
        """Checks every invariant."""
        return await call_unary(self.unary.Audit(billing_pb2.AuditRequest()))

    async def __aenter__(self) -> Self:
        self.stream.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stream.close()
        await self._channel.close()
