"""One paid request in progress: an answer being generated and the hold that pays for it.

Every way in which a request can end passes here, and each has one outcome:

- `settle`: the answer is complete; charged (free if it has no output), durably, before the client sees the end.
- `fail`: the mesh could not finish it; free.
- leaving the `async with` by an exception: a MeshError is free, and so is a cancellation that the server made, such as
  an edge that stops. A client that left is charged once a token exists, or, where each piece has its price, once all of
  them do: nothing can be sent before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType

from services.common.telemetry.tracing import Span, context_of, step
from services.edge.context import RequestContext
from services.edge.metrics import LEFT_EARLY, LEFT_LATE, OVERHEAD, SETTLE
from services.edge.paid.generation import Generation
from services.edge.paid.hold import AnyHold, Outcome, Receipt, TokenCounts
from services.edge.paid.routing import Assignment
from services.edge.paid.spans import end_generation
from tiermesh.billing.v1 import billing_pb2
from tiermesh.runner.v1.runner_pb2 import GenerateCall


class Charge:
    """Use as `async with`; whatever happens inside, the engine is stopped and the hold ends exactly once."""

    def __init__(
        self,
        generation: Generation,
        hold: AnyHold,
        context: RequestContext,
        monotonic: Callable[[], float],
        *,
        client_left: Callable[[], bool],
        by_piece: bool = False,
        on_output: Callable[[], None] | None = None,
        while_waiting: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """`by_piece` says that each choice has its price, so that there is no part of the answer to pay for.

        `on_output` is called when the answer first shows something.
        `while_waiting` raises MeshError inside when the edge has to stop.
        """
        self.generation = generation
        self._hold = hold
        self._context = context
        self._monotonic = monotonic
        self._client_left = client_left
        self._by_piece = by_piece
        self.on_output = on_output
        self._while_waiting = while_waiting
        # Of generating the answer, if the request is traced.
        self._span: Span | None = None

    @property
    def request_id(self) -> str:
        """The id of the request, for logs."""
        return self._hold.request_id

    @property
    def held(self) -> int:
        """The credits that the request will cost if its answer is completed."""
        return self._hold.amount

    def start(self, calls: list[GenerateCall], assignment: Assignment, span: Span | None) -> None:
        """Starts generating, on the runner that was found; the charge ends the span."""
        self._span = span
        self.generation.start(calls, assignment)

    def note_first_token(self) -> None:
        """Notes that the answer has begun."""
        if self._span is not None:
            self._span.event("first_token")

    async def settle(self, prompt_tokens: int = 0, completion_tokens: int = 0, *, empty: bool = False) -> Receipt:
        """Ends the hold of a complete answer; durable when it returns."""
        outcome = billing_pb2.OUTCOME_EMPTY if empty else billing_pb2.OUTCOME_COMPLETED
        counts = TokenCounts(prompt_tokens, completion_tokens, self.generation.runner_id)
        self._end_span(outcome, counts)
        began = self._monotonic()
        # An edge that stops does not leave its client without an end: the client is told, and the charge is undone.
        with step(self._context.trace, "settle") as span, self._while_waiting():
            receipt = await self._hold.settle(outcome, counts, context_of(span))
        seconds = self._monotonic() - began
        SETTLE.observe(seconds)
        OVERHEAD.observe(self._context.overhead + seconds)
        return receipt

    def fail(self) -> None:
        """Stops the engine and releases the hold."""
        self._end(billing_pb2.OUTCOME_FAILED)

    async def __aenter__(self) -> Charge:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            return
        cancelled = isinstance(error, asyncio.CancelledError) and self._client_left()
        if not cancelled and not isinstance(error, ConnectionError):
            self._end(billing_pb2.OUTCOME_FAILED)
        elif self.generation.complete if self._by_piece else self.generation.started:
            LEFT_LATE.inc()
            self._end(billing_pb2.OUTCOME_CLIENT_LEFT_LATE)
        else:
            LEFT_EARLY.inc()
            self._end(billing_pb2.OUTCOME_CLIENT_LEFT_EARLY)

    def _end(self, outcome: Outcome) -> None:
        counts = TokenCounts(runner_id=self.generation.runner_id)
        self.generation.cancel()
        self._hold.abandon(outcome, counts)
        self._end_span(outcome, counts)

    def _end_span(self, outcome: Outcome, counts: TokenCounts) -> None:
        if self._span is not None:
            end_generation(self._span, outcome, counts)
