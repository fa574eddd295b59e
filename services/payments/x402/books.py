"""What the relayer asks of billing, which keeps every payment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from services.common.rpc.replicas import Replicas
from services.payments.chain.settlement_node import Transfer
from services.payments.chain.transactions import Signed
from services.payments.x402.authorization import Authorization
from tiermesh.billing.v1 import wallet_payments_pb2 as proto
from tiermesh.billing.v1 import wallet_payments_pb2_grpc

State: TypeAlias = proto.WalletPaymentState.ValueType
_PAGE = 1_000


class Books:
    """Billing's payments in one token on one chain. Every method raises MeshError, and may be repeated."""

    def __init__(
        self,
        replicas: Replicas[wallet_payments_pb2_grpc.WalletPaymentServiceAsyncStub],
        chain_id: int,
        token: str,
        relayer: str,
    ) -> None:
        self._replicas = replicas
        self._chain_id = chain_id
        self._token = token.lower()
        self._relayer = relayer.lower()

    async def claim(
        self,
        request_id: str,
        given: Authorization,
        *,
        account_id: str,
        model: str,
        quantity: int,
        idempotency_key: str,
        from_block: int,
        balance_only: bool,
    ) -> proto.ClaimWalletPaymentResponse:
        """Takes an authorization for a request; says what its wallet has promised, and whether its balance pays.

        With `balance_only`, it raises INSUFFICIENT_CREDITS if the balance does not pay.
        """
        payment = proto.WalletPayment(
            chain_id=self._chain_id,
            token=self._token,
            payer=given.payer,
            nonce=given.nonce,
            pay_to=given.pay_to,
            atomic=given.atomic,
            valid_before=given.valid_before,
            from_block=from_block,
            request_id=request_id,
            account_id=account_id,
            model=model,
            quantity=quantity,
            idempotency_key=idempotency_key,
        )
        asked = proto.ClaimWalletPaymentRequest(payment=payment, balance_only=balance_only)
        return await self._replicas.call(lambda stub: stub.ClaimWalletPayment, asked)

    async def write_down(self, request_id: str, relayer_nonce: int, signed: Signed) -> None:
        """Keeps the transaction that will settle a payment; CONFLICT with `relayer_nonce` if the nonce is used."""
        asked = proto.SendWalletPaymentRequest(
            request_id=request_id,
            relayer=self._relayer,
            relayer_nonce=relayer_nonce,
            raw_transaction=signed.raw,
            tx_hash=signed.tx_hash,
        )
        await self._replicas.call(lambda stub: stub.SendWalletPayment, asked)

    async def settle(self, request_id: str, transfer: Transfer) -> None:
        """Has a payment credited, and its price held."""
        asked = proto.SettleWalletPaymentRequest(request_id=request_id, **transfer._asdict())
        await self._replicas.call(lambda stub: stub.SettleWalletPayment, asked)

    async def end(self, request_id: str, state: State) -> None:
        """Ends a payment without a transfer, or forgets the transaction of a settled one."""
        asked = proto.EndWalletPaymentRequest(request_id=request_id, state=state)
        await self._replicas.call(lambda stub: stub.EndWalletPayment, asked)

    async def find(self, request_id: str) -> proto.WalletPayment:
        """Returns the payment of a request; raises NOT_FOUND."""
        asked = proto.GetWalletPaymentRequest(request_id=request_id)
        return (await self._replicas.call(lambda stub: stub.GetWalletPayment, asked)).payment

    async def all_in(self, state: State) -> Sequence[proto.WalletPayment]:
        """Returns all payments in a state; of the settled ones, those that are not known to be final."""
        found: list[proto.WalletPayment] = []
        while True:
            after = found[-1].request_id if found else ""
            asked = proto.ListWalletPaymentsRequest(state=state, after_request_id=after, page_size=_PAGE)
            page = (await self._replicas.call(lambda stub: stub.ListWalletPayments, asked)).payments
            found.extend(page)
            if len(page) < _PAGE:
                # What belongs to another chain or token is another process's.
                return [each for each in found if (each.chain_id, each.token) == (self._chain_id, self._token)]

    async def next_nonce(self) -> int:
        """Returns the relayer's first nonce that no written transaction has."""
        asked = proto.GetRelayerNonceRequest(chain_id=self._chain_id, relayer=self._relayer)
        return (await self._replicas.call(lambda stub: stub.GetRelayerNonce, asked)).relayer_nonce
