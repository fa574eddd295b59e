"""Amounts of a token with six decimals: whole numbers of its smallest unit, of which a cent has 10,000."""

from __future__ import annotations

import re

DECIMALS = 6
_TOKEN = 1_000_000
# So many smallest units are one credit.
CREDIT_ATOMIC = 10_000
_AMOUNT = re.compile(rf"([0-9]{{1,12}})(?:\.([0-9]{{1,{DECIMALS}}}))?")


def token_text(atomic: int) -> str:
    """Returns an amount of smallest units as tokens, such as "12.345" or "7.00"; nothing is rounded."""
    whole, fraction = divmod(atomic, _TOKEN)
    digits = f"{fraction:0{DECIMALS}}"
    return f"{whole:,}.{digits[:2]}{digits[2:].rstrip('0')}"


def parse_amount(text: str) -> int:
    """Returns an amount of tokens, such as "25" or "0.5", in smallest units; raises ValueError."""
    found = _AMOUNT.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not an amount of tokens, such as 25 or 0.50")
    return int(found[1]) * _TOKEN + int((found[2] or "").ljust(DECIMALS, "0"))
