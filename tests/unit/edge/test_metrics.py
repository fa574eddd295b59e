"""Every refusal has a reason that operators can tell apart."""

from __future__ import annotations

import pytest

from services.common.errors import Code
from services.edge.metrics import reason_of


@pytest.mark.parametrize(
    ("code", "placing", "reason"),
    [
        (Code.UNAVAILABLE, True, "no_runner"),
        (Code.UNAVAILABLE, False, "unavailable"),
        (Code.DEADLINE_EXCEEDED, True, "queue_timeout"),
        (Code.DEADLINE_EXCEEDED, False, "unavailable"),
        (Code.OVERLOADED, True, "queue_full"),
        (Code.INSUFFICIENT_CREDITS, False, "no_credits"),
        (Code.MODEL_NOT_FOUND, False, "bad_request"),
    ],
)
def test_the_reason_of_a_code_depends_on_who_said_it(code: Code, placing: bool, reason: str) -> None:
    assert reason_of(code, placing=placing) == reason


def test_every_code_has_a_reason() -> None:
    assert all(reason_of(code) for code in Code)
