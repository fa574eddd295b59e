"""One paid request in progress: an answer being generated and the hold that pays for it.

Every way in which a request can end passes here, and each has one outcome:

- `settle`: the answer is complete; charged (free if it has no output), durably, before the client sees the end.
- `fail`: the mesh could not finish it; free.
- leaving the `async with` by an exception: a MeshError is free; a client that left is charged once a token exists.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

from services.edge.answer import Answer
from services.edge.metrics import DISCONNECTS
from services.edge.payment import Payment, Receipt, Work
from tiermesh.billing.v1 import billing_pb2


class Exchange:
    """Use as `async with`; whatever happens inside, the engine is stopped and the hold ends exactly once."""

    def __init__(self, answer: Answer, payment: Payment) -> None:
        self.answer = answer
        self._payment = payment

    @property
    def request_id(self) -> str:
        """The id of the request, for logs."""
        return self._payment.request_id

    async def settle(self, prompt_tokens: int = 0, completion_tokens: int = 0, *, empty: bool = False) -> Receipt:
        """Ends the hold of a complete answer; durable when it returns."""
        outcome = billing_pb2.OUTCOME_EMPTY if empty else billing_pb2.OUTCOME_COMPLETED
        work = Work(prompt_tokens, completion_tokens, self.answer.runner_id)
        return await self._payment.settle(outcome, work)

    def fail(self) -> None:
        """Stops the engine and releases the hold."""
        self._end(billing_pb2.OUTCOME_FAILED)

    async def __aenter__(self) -> Exchange:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            return
        if not isinstance(error, (asyncio.CancelledError, ConnectionError)):
            self._end(billing_pb2.OUTCOME_FAILED)
        elif self.answer.started:
            DISCONNECTS.labels("after_first_token").inc()
            self._end(billing_pb2.OUTCOME_CLIENT_LEFT_LATE)
        else:
            DISCONNECTS.labels("before_first_token").inc()
            self._end(billing_pb2.OUTCOME_CLIENT_LEFT_EARLY)

    def _end(self, outcome: billing_pb2.Outcome.ValueType) -> None:
        self.answer.cancel()
        self._payment.abandon(outcome, Work(runner_id=self.answer.runner_id))
