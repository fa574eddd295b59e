"""A billing service that makes the hold of a request which has ended: its Reserve arrived late, and it did not look."""

from __future__ import annotations

from services.billing import __main__ as billing
from services.billing.committer import Committer
from services.billing.ledger import refusals
from services.billing.ledger.ledger import Ledger
from services.billing.ledger.operations import Effect, Settle
from services.common.batch.lateness import Lateness
from services.common.lifecycle.process import run_service


def _withdraw(ledger: Ledger, asked: Settle) -> Effect:
    """Leaves nothing behind that would refuse the Reserve."""
    raise refusals.no_such_request()


if __name__ == "__main__":
    # mypy rightly dislikes that methods are replaced.
    Ledger._withdraw = _withdraw  # type: ignore[method-assign, assignment]
    Lateness.of = lambda lateness, sent_ms: 0.0  # type: ignore[method-assign, assignment]
    Committer.withdraw = lambda committer, ticket: None  # type: ignore[method-assign, assignment]
    run_service(billing.serve)
