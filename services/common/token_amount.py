"""Amounts of the token that deposits are made in, as people write them."""

from __future__ import annotations

# The decimals of a token whose smallest unit is worth a ten-thousandth of a credit.
_DECIMALS = 6


def token_text(atomic: int) -> str:
    """Returns an amount of smallest units as tokens, such as "12.345" or "7.00"; nothing is rounded."""
    whole, fraction = divmod(atomic, 10**_DECIMALS)
    digits = f"{fraction:0{_DECIMALS}}"
    return f"{whole:,}.{digits[:2]}{digits[2:].rstrip('0')}"
