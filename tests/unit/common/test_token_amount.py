"""Amounts of tokens are whole numbers, and nothing is rounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.billing.ledger import deposits
from services.common.token_amount import CREDIT_ATOMIC, parse_amount, token_text


@pytest.mark.parametrize(
    ("atomic", "text"),
    [(1, "0.000001"), (10_000, "0.01"), (1_000_000, "1.00"), (1_230_000, "1.23"), (10**12 + 500, "1,000,000.0005")],
)
def test_amounts_are_shown_whole(atomic: int, text: str) -> None:
    assert token_text(atomic) == text


@given(st.integers(0, 10**18 - 1))
def test_an_amount_that_is_shown_can_be_read(atomic: int) -> None:
    assert parse_amount(token_text(atomic).replace(",", "")) == atomic


@pytest.mark.parametrize("text", ["", "-1", "1e3", "1.", ".5", "1.0000001", "0x1", "1,000", "\u0661", " 1", "9" * 13])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not an amount"):
        parse_amount(text)


def test_a_credit_is_what_billing_takes_for_one() -> None:
    assert CREDIT_ATOMIC == deposits.CREDIT_ATOMIC
