"""What credits are worth."""

from __future__ import annotations

CREDITS_PER_DOLLAR = 100


def dollars(amount: int) -> str:
    """Returns an amount of credits in US dollars, with two decimals: one credit is one cent."""
    return f"{amount / CREDITS_PER_DOLLAR:.2f}"
