"""A billing service that does not remember what it has settled: whoever asks again, pays again."""

from __future__ import annotations

from services.billing import __main__ as billing
from services.billing.ledger.holds import CHARGED, State
from services.billing.ledger.ledger import AVAILABLE, REVENUE, Ledger
from services.billing.ledger.operations import Effect, Settle
from services.common.lifecycle.process import run_service

_honest = Ledger._settle


def _settle(ledger: Ledger, asked: Settle) -> Effect:
    hold = ledger._holds.get(asked.request_id)
    again = hold is not None and hold.state == State.CAPTURED and asked.outcome in CHARGED
    if hold is not None and again and ledger._balance(hold.account_id).available >= hold.amount:
        ledger._move(hold.request_id, "capture", hold.account_id, hold.amount, (AVAILABLE, REVENUE))
    return _honest(ledger, asked)


if __name__ == "__main__":
    # mypy rightly dislikes that a method is replaced.
    Ledger._settle = _settle  # type: ignore[method-assign, assignment]
    run_service(billing.serve)
