"""The search finds the mistakes that it is for."""

from __future__ import annotations

import pytest

from tests.simulator.planted import drain_as_client, late_reserve, late_settle, reopened_hold, swallowing_runner
from tests.simulator.search import Mistake, search

# Most are found in the first few.
_SEEDS = 1200


@pytest.mark.parametrize(
    ("mistake", "shown"),
    [
        (drain_as_client.planted, "wrong charge"),
        (late_reserve.planted, "holds are open"),
        (reopened_hold.planted, "wrong charge"),
        (swallowing_runner.planted, "it failed although nothing was wrong"),
        (late_settle.planted, "the ledger had charged 0"),
    ],
    ids=lambda value: getattr(value, "__module__", "").rpartition(".")[2] or None,
)
def test_a_planted_mistake_is_found(mistake: Mistake, shown: str) -> None:
    found = (violation for report in search(range(_SEEDS), mistake) for violation in report.violations)
    assert any(violation.startswith(shown) for violation in found)
