"""A payment in place of a hold: nothing moves before there is something to pay for, and then the price is held.

- No output, a failure before it, or a client that left before it: the claim is released. Nothing reaches the chain.
- The answer shows something: the payment is sent to the chain, while the rest is generated. Billing holds the price as
  soon as the tokens have moved, and from then on everything is as for an account.
- The answer fails later: billing releases the hold, or makes none. The credits are the balance of the wallet.

A payment that the balance covers has its hold from the claim on, and nothing of it reaches the chain.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from services.common.errors import Code, MeshError
from services.edge.paid.hold import NO_TOKENS, BillingClient, Hold, Outcome, Receipt, TokenCounts
from services.edge.x402.client import PaymentsClient
from services.edge.x402.terms import Terms, payment_response
from tiermesh.billing.v1 import billing_pb2
from tiermesh.common.v1.trace_pb2 import TraceContext
from tiermesh.payments.v1 import x402_pb2


class WalletHold:
    """The payment of one request, which was claimed; only the first end counts.

    `amount` is what it pays, in credits. `refused` makes the error for a payment that the chain has refused, and `paid`
    is called when the tokens have moved, or the balance has paid.
    """

    def __init__(
        self,
        client: PaymentsClient,
        billing: BillingClient,
        request_id: str,
        amount: int,
        authorization: x402_pb2.Authorization,
        terms: Terms,
        refused: Callable[[MeshError], MeshError],
        paid: Callable[[], None],
    ) -> None:
        self._client = client
        self.amount = amount
        self._hold = Hold(billing, request_id)
        self._asked = x402_pb2.SettlePaymentRequest(request_id=request_id, authorization=authorization)
        self._terms = terms
        self._refused = refused
        self._paid = paid
        # None before the payment is sent.
        self._settling: asyncio.Task[str] | None = None
        # Whether the balance of the wallet pays.
        self._covered = False
        # Whether billing decides from now on, and whether it has ended without that.
        self._handed_over = False
        self._ended = False

    @property
    def request_id(self) -> str:
        """The id of the request."""
        return self._hold.request_id

    def cover(self) -> None:
        """Notes that the balance of the wallet pays: billing holds the price already."""
        self._covered = self._handed_over = True

    def begin(self, fail: Callable[[MeshError], None]) -> None:
        """Sends the payment to the chain; `fail` ends an answer that is not paid for."""
        if not self._covered:
            self._begin().add_done_callback(lambda task: _tell(task, fail))

    async def settle(self, outcome: Outcome, counts: TokenCounts, trace: TraceContext | None = None) -> Receipt:
        """Returns once the tokens have moved and the charge is durable; an empty answer moves none."""
        transaction = ""
        if not self._covered:
            if outcome != billing_pb2.OUTCOME_COMPLETED and self._settling is None:
                self._release()
                return Receipt(0, 0)
            transaction = await asyncio.shield(self._begin())
            self._handed_over = True
        receipt = await self._hold.settle(outcome, counts, trace)
        if self._covered and receipt.charged:
            self._paid()
        told = ""
        if transaction or receipt.charged:
            told = payment_response(self._terms, self._asked.authorization.payer, transaction)
        return Receipt(receipt.charged, receipt.remaining, transaction, told)

    def abandon(self, outcome: Outcome, counts: TokenCounts = NO_TOKENS) -> None:
        """Ends the request in the background: what has moved is the wallet's balance, unless the client just left."""
        if self._handed_over:
            self._hold.abandon(outcome, counts)
        elif self._ended:
            return
        elif self._settling is None:
            self._release()
        elif outcome == billing_pb2.OUTCOME_CLIENT_LEFT_LATE:
            self._ended = True
            self._client.later(self.request_id, self._settle_late(self._settling, outcome, counts))
        elif not _is_refused(self._settling):
            # Billing makes no hold from now on, or releases it. Payments may not have heard of it at all.
            self._handed_over = True
            self._hold.abandon(outcome, counts)
            self._client.release_later(self.request_id)

    def _begin(self) -> asyncio.Task[str]:
        if self._settling is None:
            self._settling = asyncio.get_running_loop().create_task(self._settle_payment())
            # Nobody may be waiting for it when it fails.
            self._settling.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._settling

    async def _settle_payment(self) -> str:
        try:
            transaction = await self._client.settle(self._asked)
        except MeshError as error:
            raise self._refused(error) if error.code is Code.INSUFFICIENT_CREDITS else error from error
        self._paid()
        return transaction

    async def _settle_late(self, settling: asyncio.Task[str], outcome: Outcome, counts: TokenCounts) -> None:
        try:
            await settling
        except MeshError:
            # Whatever moves later has nobody to pay for.
            outcome = billing_pb2.OUTCOME_FAILED
        self._handed_over = True
        self._hold.abandon(outcome, counts)

    def _release(self) -> None:
        self._ended = True
        self._client.release_later(self.request_id)


def _is_refused(settling: asyncio.Task[str]) -> bool:
    if not settling.done() or settling.cancelled():
        return False
    error = settling.exception()
    return isinstance(error, MeshError) and error.code is Code.INSUFFICIENT_CREDITS


def _tell(task: asyncio.Task[str], fail: Callable[[MeshError], None]) -> None:
    if task.cancelled():
        return
    error = task.exception()
    if isinstance(error, MeshError):
        fail(error)
