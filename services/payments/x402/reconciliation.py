"""Looks after payments that nobody asks for: after a restart, after their time, and until their blocks are final."""

from __future__ import annotations

from services.common.clock import Clock
from services.common.errors import Code, MeshError
from services.common.retry.outage import Outage
from services.common.retry.pause import pause
from services.common.telemetry.logs import get_logger
from services.payments.chain.json_rpc import RpcError, read_number
from services.payments.chain.settlement_node import SettlementNode
from services.payments.metrics import GAS, PAYMENTS
from services.payments.x402.books import Books
from services.payments.x402.facilitator import NO_TRANSACTION
from services.payments.x402.settlements import Settlements
from tiermesh.billing.v1 import wallet_payments_pb2 as proto

log = get_logger()

# By how much clocks and blocks may disagree about the time, in seconds.
_SKEW_SECONDS = 60
# The smallest units of a chain's own coin in one coin.
_WEI = 10**18


class Reconciliation:
    """`follow` it in a task; `clock` is Unix time. `pays_gas` says whether there is a relayer of our own."""

    def __init__(
        self, books: Books, node: SettlementNode, settlements: Settlements, clock: Clock, *, pays_gas: bool
    ) -> None:
        self._books = books
        self._node = node
        self._settlements = settlements
        self._clock = clock
        self._pays_gas = pays_gas
        self._outage = Outage()

    async def follow(self, interval: float) -> None:
        """Looks every `interval` seconds until cancelled."""
        while True:
            try:
                await self.step()
                self._outage.end()
            except (RpcError, MeshError) as error:
                if self._outage.begin(str(error)):
                    log.warning("reconciliation_waits", reason=str(error))
            await pause(interval)

    async def step(self) -> None:
        """Looks once; raises RpcError and MeshError."""
        sent = await self._books.all_in(proto.WALLET_PAYMENT_STATE_SENT)
        for payment in sent:
            self._settlements.resume(payment)
        claimed = await self._books.all_in(proto.WALLET_PAYMENT_STATE_CLAIMED)
        for payment in claimed:
            if payment.valid_before + _SKEW_SECONDS < self._clock():
                # Its request has died with its edge, or it would have been released.
                await self._settlements.release(payment.request_id)
        PAYMENTS.labels("claimed").set(len(claimed))
        PAYMENTS.labels("sent").set(len(sent))
        if self._pays_gas:
            GAS.set(await self._node.gas() / _WEI)
        await self._finish()

    async def _finish(self) -> None:
        """Forgets the transactions that are final, and sends those again that a reorganisation has dropped."""
        settled = await self._books.all_in(proto.WALLET_PAYMENT_STATE_SETTLED)
        PAYMENTS.labels("settled").set(len(settled))
        if not settled:
            return
        finalized = await self._node.finalized()
        for payment in settled:
            receipt = await self._node.receipt(payment.tx_hash)
            if receipt is None:
                log.warning("settlement_dropped", request_id=payment.request_id)
                await self._send_again(payment)
            elif read_number(receipt.block_number) <= finalized:
                await self._forget(payment)

    async def _send_again(self, payment: proto.WalletPayment) -> None:
        if payment.raw_transaction == NO_TRANSACTION:
            # A facilitator has sent it, and only that can do it again.
            return
        try:
            await self._node.send(payment.raw_transaction)
        except RpcError as error:
            log.debug("resend_refused", request_id=payment.request_id, reason=str(error))

    async def _forget(self, payment: proto.WalletPayment) -> None:
        try:
            await self._books.end(payment.request_id, proto.WALLET_PAYMENT_STATE_SETTLED)
        except MeshError as error:
            if error.code is not Code.CONFLICT:
                raise
