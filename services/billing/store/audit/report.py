"""What an audit has seen."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace
from typing import Any, NamedTuple

# Each check of a slice names at most this many rows, and a report no more: the first ones tell what a disaster was.
MAX_NAMED = 100


class Report(NamedTuple):
    """What an audit has seen. The ledger is sound if there are no violations."""

    violations: list[str]
    entries: int
    accounts: int
    open_holds: int
    # The sum of all entries: 0, because each movement is two lines that cancel out.
    imbalance: int
    # Credits that were ever granted or deposited, that were charged, that accounts can spend, and that are held: all of
    # one moment.
    granted: int
    deposited: int
    revenue: int
    available: int
    held: int


def whole_numbers(row: Any) -> SimpleNamespace:
    """Returns a row for a sentence: PostgreSQL's sums are decimal numbers, which would be shown as 3E+4."""
    columns = row._mapping.items()  # noqa: SLF001 - SQLAlchemy's public name
    return SimpleNamespace(**{name: int(value) if isinstance(value, Decimal) else value for name, value in columns})
