"""Amounts, times and counts as people read them."""

from __future__ import annotations

from datetime import UTC, datetime

_CREDITS_PER_DOLLAR = 100


def spoken(service: str) -> str:
    """Returns what a sentence calls a service; all but the router have names without an article."""
    return f"the {service}" if service == "router" else service


def credits_text(amount: int) -> str:
    """Returns the amount with its worth, such as "1,250 credits ($12.50)"; a credit is one US cent."""
    dollars, cents = divmod(abs(amount), _CREDITS_PER_DOLLAR)
    sign = "-" if amount < 0 else ""
    return f"{counted(amount, 'credit')} ({sign}${dollars:,}.{cents:02})"


def counted(number: int, noun: str) -> str:
    """Returns the number with its noun, such as "1 runner" or "2,000 runners"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def moment(milliseconds: int, otherwise: str) -> str:
    """Returns a time since the Unix epoch as UTC, to the minute; `otherwise` for 0, which stands for never."""
    if not milliseconds:
        return otherwise
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
