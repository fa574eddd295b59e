"""Sends payments to the chain. A transaction is written down before it is sent, and sent until the chain has it.

Nonces are given out one after the other, and each is written down with the transaction that uses it: a nonce without a
transaction would hold up all that follow. So a process that is killed, or a node that is away, leaves no gap.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from services.common.errors import Code, MeshError
from services.common.retry.outage import Outage
from services.common.retry.pause import pause
from services.common.telemetry.logs import get_logger
from services.payments.chain.json_rpc import RpcError
from services.payments.chain.settlement_node import SettlementNode, Transfer
from services.payments.chain.transactions import GasKey, Signed, Transaction
from services.payments.x402.authorization import Authorization, not_paid
from services.payments.x402.books import Books
from tiermesh.billing.v1 import wallet_payments_pb2 as proto

log = get_logger()

# How long a gas price is believed, and how long a sent transaction is given before it is sent again, in seconds.
_PRICE_SECONDS, _RESEND_SECONDS = 5.0, 2.0
# The most that is offered beyond the base fee, in wei for each unit of gas.
_MOST_PRIORITY = 10**9
# How often another process may be faster with a nonce.
_ATTEMPTS = 10


class Relayer:
    """One key that pays gas. `poll_seconds` is how often it looks for a receipt; `monotonic` counts seconds."""

    def __init__(
        self,
        node: SettlementNode,
        books: Books,
        key: GasKey,
        monotonic: Callable[[], float],
        *,
        chain_id: int,
        token: str,
        gas: int,
        poll_seconds: float,
    ) -> None:
        self._node = node
        self._books = books
        self._key = key
        self._monotonic = monotonic
        self._chain_id = chain_id
        self._token = token
        self._gas = gas
        self._poll_seconds = poll_seconds
        self._turn = asyncio.Lock()
        # None while it must be asked for.
        self._nonce: int | None = None
        # When it was asked for, and what it was.
        self._price: tuple[float, int] | None = None
        self._outage = Outage()

    async def write_down(self, request_id: str, authorization: Authorization) -> Signed:
        """Signs the transaction that settles a payment and has billing keep it; raises MeshError and RpcError."""
        async with self._turn:
            for _ in range(_ATTEMPTS):
                try:
                    nonce = await self._next_nonce()
                    signed = await self._sign(nonce, authorization)
                    # Whether an attempt that fails is kept is unknown.
                    self._nonce = None
                    await self._books.write_down(request_id, nonce, signed)
                except MeshError as error:
                    if error.code is Code.CONFLICT and error.param == "relayer_nonce":
                        continue
                    raise
                self._nonce = nonce + 1
                return signed
        raise MeshError(Code.UNAVAILABLE, "Too many processes relay payments. Try again shortly.", retry_after=1.0)

    async def follow(self, payment: proto.WalletPayment, raw: str, tx_hash: str) -> str:
        """Sends a written transaction until the chain shows what became of it; returns the one that moved the tokens.

        It goes on for as long as node or billing are away. Raises MeshError INSUFFICIENT_CREDITS if the chain refuses
        the transfer.
        """
        send_at = self._monotonic()
        while True:
            try:
                if self._monotonic() >= send_at:
                    send_at = self._monotonic() + _RESEND_SECONDS
                    await self._send(raw)
                if (transfer := await self._outcome(payment, tx_hash)) is not None:
                    await self._books.settle(payment.request_id, transfer)
                    self._outage.end()
                    return transfer.tx_hash
            except (RpcError, MeshError) as error:
                if isinstance(error, MeshError) and error.code not in {Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED}:
                    raise
                if self._outage.begin(str(error)):
                    log.warning("settlement_waits", request_id=payment.request_id, reason=str(error))
            await pause(self._poll_seconds)

    async def _outcome(self, payment: proto.WalletPayment, tx_hash: str) -> Transfer | None:
        """Returns the transfer; None while the transaction is in no block. Ends a payment that the chain refuses."""
        receipt = await self._node.receipt(tx_hash)
        if receipt is None:
            return None
        terms = payment.payer, payment.nonce, payment.pay_to, payment.atomic
        if (transfer := self._node.transfer_in(receipt, *terms)) is not None:
            return transfer
        # Refused. Anyone may send an authorization: what counts is whether it has paid.
        if (transfer := await self._node.transfer_by(*terms, payment.from_block)) is not None:
            return transfer
        await self._books.end(payment.request_id, proto.WALLET_PAYMENT_STATE_FAILED)
        raise not_paid("was refused by the chain. Sign a new one from a wallet that has the tokens")

    async def _send(self, raw: str) -> None:
        try:
            await self._node.send(raw)
        except RpcError:
            # It may have arrived, or be known: the receipt tells, and until then it is sent again.
            return

    async def _next_nonce(self) -> int:
        if self._nonce is None:
            # A node that was restarted has forgotten what waits; what was written down is sent again by its follower.
            self._nonce = max(await self._node.pending_nonce(), await self._books.next_nonce())
        return self._nonce

    async def _sign(self, nonce: int, authorization: Authorization) -> Signed:
        price = await self._gas_price()
        data = bytes.fromhex(authorization.call()[2:])
        fees = min(_MOST_PRIORITY, price), 2 * price
        return self._key.sign(Transaction(self._chain_id, nonce, *fees, self._gas, self._token, data))

    async def _gas_price(self) -> int:
        now = self._monotonic()
        if self._price is None or self._price[0] < now - _PRICE_SECONDS:
            self._price = now, await self._node.gas_price()
        return self._price[1]
