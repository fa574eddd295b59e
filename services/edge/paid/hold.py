"""Pays for requests: hold the price before anything is generated, then capture or release it exactly once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol, TypeAlias

from msgspec import Struct

from services.common.batch import BatchClient
from services.common.errors import Code, MeshError
from services.common.retry.backoff import Backoff
from services.common.rpc.channels import OpenChannel
from services.common.telemetry.logs import get_logger
from services.edge.authentication import Principal
from tiermesh.billing.v1 import billing_pb2, billing_pb2_grpc
from tiermesh.common.v1.trace_pb2 import TraceContext

log = get_logger()
BillingBatch = BatchClient[billing_pb2.TransactCall, billing_pb2.TransactReply]

# How long to wait before a settlement is tried again, in seconds: doubling from the first to the longest.
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 1.0

Outcome: TypeAlias = billing_pb2.Outcome.ValueType
# What is paid for; every other end needs no hold.
_CHARGED = frozenset({billing_pb2.OUTCOME_COMPLETED, billing_pb2.OUTCOME_CLIENT_LEFT_LATE})


class Receipt(Struct, frozen=True):
    """What a request cost and what is left, in credits."""

    charged: int
    remaining: int
    # The transaction that a wallet has paid by, and what its client reads of it; empty for accounts.
    transaction: str = ""
    payment_response: str = ""


class TokenCounts(Struct, frozen=True):
    """What was done for the money, for usage reports."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    runner_id: str = ""


NO_TOKENS = TokenCounts()


def billing_client(
    addresses: list[str], open_channel: OpenChannel, *, clock: Callable[[], float] = time.monotonic
) -> BillingBatch:
    """Returns the client of the billing service; Reserve and Settle are idempotent, so they are sent again."""
    return BatchClient(
        "billing",
        addresses,
        open_channel=open_channel,
        open_stream=lambda channel: billing_pb2_grpc.BillingServiceStub(channel).Transact(),
        new_frame=billing_pb2.TransactRequest,
        retry=True,
        clock=clock,
    )


class BillingClient:
    """Places holds and ends those that nobody waits for. Times are in seconds."""

    def __init__(
        self, client: BillingBatch, *, reserve_timeout: float, settle_timeout: float, release_timeout: float
    ) -> None:
        self._client = client
        self._reserve_timeout = reserve_timeout
        self._settle_timeout = settle_timeout
        self._release_timeout = release_timeout
        self._background: set[asyncio.Task[None]] = set()

    async def reserve(
        self,
        request_id: str,
        principal: Principal,
        model: str,
        *,
        quantity: int = 1,
        idempotency_key: str = "",
        trace: TraceContext | None = None,
    ) -> Hold:
        """Holds the price, `quantity` times.

        Raises MeshError INSUFFICIENT_CREDITS, CONFLICT if the idempotency key is in use, or UNAVAILABLE if billing
        cannot be asked.
        """
        reserve = billing_pb2.Reserve(
            request_id=request_id,
            account_id=principal.account_id,
            key_id=principal.key_id,
            model=model,
            quantity=quantity,
            key_monthly_cap=principal.monthly_credit_cap,
            idempotency_key=idempotency_key,
        )
        if principal.caps:
            reserve.caps.extend(billing_pb2.MonthlyCap(key_id=key, credits=cap) for key, cap in principal.caps)
        hold = Hold(self, request_id, reserve)
        try:
            call = billing_pb2.TransactCall(reserve=reserve, trace=trace)
            hold.amount = (await self._transact(call, self._reserve_timeout)).amount
        except MeshError as error:
            if error.code in {Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED}:
                # Whether the hold was made, or will be, is unknown. Billing releases it, or refuses the late Reserve.
                hold.abandon(billing_pb2.OUTCOME_FAILED)
                raise _unavailable("so nothing was served or charged") from error
            raise
        except asyncio.CancelledError:
            hold.abandon(billing_pb2.OUTCOME_CLIENT_LEFT_EARLY)
            raise
        return hold

    async def settle(self, call: billing_pb2.TransactCall, reserve: billing_pb2.Reserve | None) -> Receipt:
        """Ends a hold and returns when that is durable. `reserve` is what made it, if that was this edge."""
        reply = await self._settle_until_told(call, reserve, self._settle_timeout)
        return Receipt(reply.amount, reply.available)

    def settle_later(self, call: billing_pb2.TransactCall, reserve: billing_pb2.Reserve | None) -> None:
        """Ends a hold that nobody waits for."""
        task = asyncio.get_running_loop().create_task(self._settle_quietly(call, reserve))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def drain(self, seconds: float) -> None:
        """Waits for the holds that are being ended, at most `seconds`; billing's sweeper releases the rest."""
        if self._background:
            await asyncio.wait(self._background, timeout=seconds)

    async def _settle_quietly(self, call: billing_pb2.TransactCall, reserve: billing_pb2.Reserve | None) -> None:
        try:
            await self._settle_until_told(call, reserve, self._release_timeout)
        except MeshError as error:
            log.warning("settle_failed", request_id=call.settle.request_id, error=error.message)
        except Exception:
            # Nobody waits for this task; billing's sweeper releases the hold.
            log.exception("settle_failed", request_id=call.settle.request_id)

    async def _settle_until_told(
        self, call: billing_pb2.TransactCall, reserve: billing_pb2.Reserve | None, timeout: float
    ) -> billing_pb2.TransactReply:
        """Asks again while billing says that its database is away: settling is idempotent, giving up loses money.

        A hold that is to be charged and is not known was lost when billing's database crashed. It is made again.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout
        # Made when it is needed, which is hardly ever.
        backoff: Backoff | None = None
        lost: billing_pb2.Reserve | None = None
        while True:
            try:
                if lost is not None:
                    await self._transact(billing_pb2.TransactCall(reserve=lost), deadline - clock())
                return await self._transact(call, deadline - clock())
            except MeshError as error:
                lost = reserve if error.code is Code.NOT_FOUND and call.settle.outcome in _CHARGED else None
                if lost is not None:
                    log.warning("hold_lost", request_id=lost.request_id)
                elif error.code is not Code.UNAVAILABLE:
                    raise
                backoff = backoff or Backoff(_FIRST_PAUSE, _LONGEST_PAUSE, jitter=0.0)
                pause = backoff.next()
                if clock() + pause >= deadline:
                    raise
            await asyncio.sleep(pause)

    async def _transact(self, call: billing_pb2.TransactCall, timeout: float) -> billing_pb2.TransactReply:
        reply = await self._client.request(call, timeout)
        if reply.HasField("error"):
            raise MeshError.from_proto(reply.error)
        return reply


class AnyHold(Protocol):
    """What pays for one request: `Hold`, or a payment of a wallet."""

    @property
    def request_id(self) -> str:
        """The id of the request."""

    @property
    def amount(self) -> int:
        """The credits that the request will cost if its answer is completed."""

    async def settle(self, outcome: Outcome, counts: TokenCounts, trace: TraceContext | None = None) -> Receipt:
        """Ends it durably."""

    def abandon(self, outcome: Outcome, counts: TokenCounts = NO_TOKENS) -> None:
        """Ends it in the background, unless it has ended."""


class PaymentHold(AnyHold, Protocol):
    """A payment of a wallet, which moves money only once there is something to pay for."""

    def begin(self, fail: Callable[[MeshError], None]) -> None:
        """Moves the money in the background; `fail` hears of it if that is impossible."""


class Hold:
    """The hold of one request; only the first `settle` or `abandon` counts, but for a charge that is undone."""

    def __init__(self, billing: BillingClient, request_id: str, reserve: billing_pb2.Reserve | None = None) -> None:
        """`reserve` is what it was made by, if this edge has made it."""
        self._billing = billing
        self._reserve = reserve
        self.request_id = request_id
        # The credits that it sets aside, once billing has told them.
        self.amount = 0
        # How the hold ends; None while it does not.
        self._outcome: Outcome | None = None

    async def settle(self, outcome: Outcome, counts: TokenCounts, trace: TraceContext | None = None) -> Receipt:
        """Ends the hold durably. If the caller is cancelled meanwhile, the settlement goes on by itself."""
        self._outcome = outcome
        call = self._call(outcome, counts, trace)
        try:
            return await self._billing.settle(call, self._reserve)
        except asyncio.CancelledError:
            self._billing.settle_later(call, self._reserve)
            raise
        except MeshError as error:
            # The client gets an error, so it must not pay. Whether billing has captured the price is unknown: it
            # releases the hold if not, and refunds the price if so.
            self._outcome = billing_pb2.OUTCOME_FAILED
            self._billing.settle_later(self._call(billing_pb2.OUTCOME_FAILED, counts), self._reserve)
            if error.code in {Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.NOT_FOUND}:
                # A hold that is not found was lost in a crash of the database, and there was no time to make another.
                raise _unavailable("so the answer could not be completed") from error
            raise

    def abandon(self, outcome: Outcome, counts: TokenCounts = NO_TOKENS) -> None:
        """Ends the hold in the background, unless it has ended or is ending already.

        A failure between the charge and the end of the answer, which the client then never gets, undoes the charge.
        """
        undone = (outcome, self._outcome) == (billing_pb2.OUTCOME_FAILED, billing_pb2.OUTCOME_COMPLETED)
        if self._outcome is None or undone:
            self._outcome = outcome
            self._billing.settle_later(self._call(outcome, counts), self._reserve)

    def _call(
        self, outcome: Outcome, counts: TokenCounts, trace: TraceContext | None = None
    ) -> billing_pb2.TransactCall:
        settle = billing_pb2.Settle(
            request_id=self.request_id,
            outcome=outcome,
            prompt_tokens=counts.prompt_tokens,
            completion_tokens=counts.completion_tokens,
            runner_id=counts.runner_id,
        )
        return billing_pb2.TransactCall(settle=settle, trace=trace)


def _unavailable(consequence: str) -> MeshError:
    return MeshError(Code.UNAVAILABLE, f"Billing cannot be reached, {consequence}. Try again shortly.", retry_after=1.0)
