"""A hold: the price of one request set aside while it runs, and afterwards the record of what it used."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum

from tiermesh.billing.v1 import billing_pb2


class Outcome(StrEnum):
    """How a request ended; the text is what the database and reports hold."""

    NONE = "none"
    COMPLETED = "completed"
    EMPTY = "empty"
    CLIENT_LEFT_LATE = "client_left_late"
    CLIENT_LEFT_EARLY = "client_left_early"
    FAILED = "failed"
    EXPIRED = "expired"


# The wire's numbers. EXPIRED is missing: only the sweeper decides it.
SETTLED_OUTCOMES = {
    int(billing_pb2.OUTCOME_COMPLETED): Outcome.COMPLETED,
    int(billing_pb2.OUTCOME_EMPTY): Outcome.EMPTY,
    int(billing_pb2.OUTCOME_CLIENT_LEFT_LATE): Outcome.CLIENT_LEFT_LATE,
    int(billing_pb2.OUTCOME_CLIENT_LEFT_EARLY): Outcome.CLIENT_LEFT_EARLY,
    int(billing_pb2.OUTCOME_FAILED): Outcome.FAILED,
}
CHARGED = frozenset({Outcome.COMPLETED, Outcome.CLIENT_LEFT_LATE})


class State(StrEnum):
    """Where a hold's credits are; refunded ones count as released."""

    OPEN = "open"
    CAPTURED = "captured"
    RELEASED = "released"


# The account of a hold that was never made: its request was withdrawn before billing had heard of it.
NO_ACCOUNT = ""


@dataclass(slots=True)
class Hold:
    """One request. The first eight fields and the last three never change; the order is that of the columns."""

    request_id: str
    account_id: str
    key_id: str
    model: str
    quantity: int
    unit_price: int
    amount: int
    reserved_ms: int
    state: str = State.OPEN
    outcome: str = Outcome.NONE
    prompt_tokens: int = 0
    completion_tokens: int = 0
    runner_id: str = ""
    settled_ms: int | None = None
    # The lowest cap that bound the API key; None if it had none, and then its spending is not counted.
    key_monthly_cap: int | None = None
    idempotency_key: str | None = None
    # The keys under whose ids the spending is counted, as a JSON list; None if that is at most the request's own key.
    capped_keys: str | None = None

    @classmethod
    def withdrawn(cls, request_id: str, now_ms: int) -> Hold:
        """Returns what stands in the way of a Reserve that arrives after the settlement of its request."""
        return cls(request_id, NO_ACCOUNT, "", "", 1, 0, 0, now_ms)

    @property
    def counted_under(self) -> tuple[str, ...]:
        """The keys under whose ids the spending is counted."""
        if self.key_monthly_cap is None:
            return ()
        return (self.key_id,) if self.capped_keys is None else tuple(json.loads(self.capped_keys))

    @property
    def charged(self) -> int:
        """Credits that the account has paid for this request."""
        return self.amount if self.state == State.CAPTURED else 0
