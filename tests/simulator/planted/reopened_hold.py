"""A ledger in which a free settlement of an expired hold is not its end: a charge that comes late is still made.

Calls that are read late are done, so that there are such charges.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from services.billing.ledger.holds import CHARGED, Outcome
from services.billing.ledger.ledger import Ledger
from services.billing.ledger.operations import Effect, Settle
from services.common.batch.server import BatchServer

_honest = Ledger._settle


def _settle(ledger: Ledger, asked: Settle) -> Effect:
    hold = ledger._holds.get(asked.request_id)
    if hold is not None and hold.outcome == Outcome.EXPIRED and asked.outcome not in CHARGED:
        return ledger._receipt(hold.account_id, hold.charged)
    return _honest(ledger, asked)


def _all(_server: object, calls: Sequence[Any], _late: float, _stream: object) -> list[Any]:
    return list(calls)


@contextmanager
def planted() -> Iterator[None]:
    """Has the mistake for as long as the block runs."""
    with patch.object(Ledger, "_settle", _settle), patch.object(BatchServer, "_still_wanted", _all):
        yield
