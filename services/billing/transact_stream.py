"""The gRPC face of the hot path: calls become operations, receipts become replies."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

from services.billing.committer import Committer
from services.billing.ledger import refusals
from services.billing.ledger.holds import SETTLED_OUTCOMES
from services.billing.ledger.identifiers import check_id, check_text
from services.billing.ledger.operations import MonthlyCap, Operation, Reserve, Result, Settle
from services.billing.ledger.prices import Prices
from services.billing.metrics import REFUSALS
from services.common.batch import BatchServer, BatchStream, Notes
from services.common.errors import MeshError
from services.common.telemetry.tracing import Span, Tracing
from tiermesh.billing.v1 import billing_pb2

TransactServer = BatchServer[billing_pb2.TransactCall, billing_pb2.TransactReply]
TransactStream = BatchStream[billing_pb2.TransactReply]

# How long a call without a timeout of its own may wait for a transaction, in seconds.
_DEFAULT_TIMEOUT = 30.0
# More caps than any key has: auth makes no longer line of keys that make keys.
MAX_CAPS = 32


class TransactHandler:
    """Hands the calls of all streams to the committer."""

    def __init__(self, committer: Committer, prices: Prices) -> None:
        self._committer = committer
        self._prices = prices

    def on_calls(self, calls: Sequence[billing_pb2.TransactCall], stream: TransactStream) -> None:
        """Submits every call of one frame; what is wrong by itself is refused without a transaction."""
        for call in calls:
            answer = partial(_reply, stream, call.id)
            ticket = (stream, call.id) if call.HasField("reserve") else None
            try:
                timeout = call.timeout_ms / 1000 or _DEFAULT_TIMEOUT
                self._committer.submit(self._operation(call), timeout, answer, ticket)
            except MeshError as error:
                answer(error)

    def on_cancel(self, call_id: int, stream: TransactStream) -> None:
        """Takes back a Reserve that still waits: its request has ended. A Settle is done whoever waits for it."""
        self._committer.withdraw((stream, call_id))

    def on_close(self, stream: TransactStream) -> None:
        """Does nothing: an edge that lost its stream asks again, and finds the operation done."""

    def _operation(self, call: billing_pb2.TransactCall) -> Operation:
        if call.HasField("reserve"):
            return self._reserve(call.reserve)
        if call.HasField("settle"):
            return _settle(call.settle)
        raise refusals.invalid("operation", "is missing. Send reserve or settle")

    def _reserve(self, asked: billing_pb2.Reserve) -> Reserve:
        request_id = check_id("request_id", asked.request_id)
        account_id = check_id("account_id", asked.account_id)
        quote = self._prices.quote(asked.model, asked.quantity)
        key_id = check_text("key_id", asked.key_id)
        return Reserve(
            *(request_id, account_id, key_id, quote),
            caps=_caps(asked) if asked.caps else _own_cap(key_id, asked.key_monthly_cap),
            idempotency_key=check_text("idempotency_key", asked.idempotency_key),
        )


def _own_cap(key_id: str, credits: int) -> tuple[MonthlyCap, ...]:  # noqa: A002 - the ledger's word
    if credits < 0:
        raise refusals.invalid("key_monthly_cap", "must not be negative")
    return (MonthlyCap(key_id, credits),) if credits else ()


def _caps(asked: billing_pb2.Reserve) -> tuple[MonthlyCap, ...]:
    caps = tuple(MonthlyCap(check_id("caps.key_id", cap.key_id), cap.credits) for cap in asked.caps)
    if len({cap.key_id for cap in caps}) < len(caps) or len(caps) > MAX_CAPS:
        # Each is read and written by the transaction.
        raise refusals.invalid("caps", f"must name different keys, at most {MAX_CAPS}")
    if any(cap.credits <= 0 for cap in caps):
        raise refusals.invalid("caps.credits", "must be positive")
    return caps


def _settle(asked: billing_pb2.Settle) -> Settle:
    outcome = SETTLED_OUTCOMES.get(asked.outcome)
    if outcome is None:
        raise refusals.invalid("outcome", "must be an outcome that a request can end with")
    request_id = check_id("request_id", asked.request_id)
    runner_id = check_text("runner_id", asked.runner_id)
    return Settle(request_id, outcome, asked.prompt_tokens, asked.completion_tokens, runner_id)


def _reply(stream: TransactStream, call_id: int, answer: Result) -> None:
    if isinstance(answer, MeshError):
        REFUSALS.labels(answer.code.name.lower()).inc()
        stream.reply_error(call_id, answer)
    else:
        stream.reply(billing_pb2.TransactReply(id=call_id, amount=answer.amount, available=answer.available))


def _request_id(call: billing_pb2.TransactCall) -> str:
    return call.settle.request_id if call.HasField("settle") else call.reserve.request_id


def _describe_call(call: billing_pb2.TransactCall, span: Span) -> None:
    span.set("tiermesh.operation", "settle" if call.HasField("settle") else "reserve")


def _describe_reply(reply: billing_pb2.TransactReply, span: Span) -> None:
    span.set("tiermesh.credits", reply.amount)


def transact_server(
    committer: Committer,
    prices: Prices,
    tracing: Tracing | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> TransactServer:
    """Returns the batch server of the Transact rpc."""
    return BatchServer(
        "billing.transact",
        TransactHandler(committer, prices),
        new_frame=billing_pb2.TransactResponse,
        new_reply=billing_pb2.TransactReply,
        notes=Notes(
            tracing=tracing, request_id=_request_id, describe_call=_describe_call, describe_reply=_describe_reply
        ),
        clock=clock,
    )
