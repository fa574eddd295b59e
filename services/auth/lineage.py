"""Where a key comes from, and whose limits bind it.

A key that a rotation made goes on in the place of the old one: both count under one id, that of the first. A key that
another key made counts against that key's limits too, and against those of every key before it. So neither a rotation
nor a further key makes a limit larger.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

# How many keys may stand above one: each is stored with it, and may be counted by every request.
MAX_ANCESTORS = 8

# A key by the id that it counts under, and how much that key, its rotations and its descendants may do together.
Limit = tuple[str, int]


class Ancestor(NamedTuple):
    """What is kept of a key with each of its descendants, because it binds them for longer than it exists itself."""

    # The first key of its rotations.
    key_id: str
    # Both never change; 0 means none.
    monthly_credit_cap: int
    requests_per_minute: int


def binding(line: Iterable[Limit]) -> tuple[Limit, ...]:
    """Returns the limits of a line, from the first ancestor to the key itself, that can refuse anything; 0 is none.

    All that counts against a key counts against its ancestors. So a limit that is not lower than one before it is
    reached later than that one, and need not be counted.
    """
    bound: list[Limit] = []
    for key_id, limit in line:
        if limit and (not bound or limit < bound[-1][1]):
            bound.append((key_id, limit))
    return tuple(bound)
