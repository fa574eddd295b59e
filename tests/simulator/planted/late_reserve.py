"""A billing service that makes a hold although its request was withdrawn, if it reads of both late.

Timeouts begin when a call is read, a withdrawn Reserve that waits is made, and a settlement that finds no hold leaves
nothing behind; the edge takes "no such request" for done.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from services.billing.ledger import refusals
from services.billing.ledger.ledger import Ledger
from services.billing.transact_stream import TransactHandler
from services.common.batch.server import BatchServer


def _not_found(_ledger: Ledger, _asked: object) -> None:
    raise refusals.no_such_request()


def _all(_server: object, calls: Sequence[Any], _late: float, _stream: object) -> list[Any]:
    return list(calls)


@contextmanager
def planted() -> Iterator[None]:
    """Has the mistake for as long as the block runs."""
    with (
        patch.object(Ledger, "_withdraw", _not_found),
        patch.object(TransactHandler, "on_cancel", lambda *_: None),
        patch.object(BatchServer, "_still_wanted", _all),
    ):
        yield
