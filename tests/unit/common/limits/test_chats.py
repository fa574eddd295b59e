"""Ranges hold their ends and no NaN."""

from __future__ import annotations

import math

from services.common.limits.chats import PENALTIES


def test_a_range() -> None:
    inside = [PENALTIES.holds(value) for value in (-2, 0, 2.0)]
    outside = [PENALTIES.holds(value) for value in (-2.1, 2.1, math.inf, math.nan)]
    assert (inside, outside) == ([True] * 3, [False] * 4)
