"""How fast an audit goes on: it rests between slices, so that requests hardly notice it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")

# An audit that takes no longer than this disturbs nobody, and does not rest. In seconds.
_SHORT = 0.1
# The rest after a slice, as a multiple of the time that the slice took.
REST = 3.0
# An audit of the whole ledger is in no hurry: its rests are so many times longer.
UNHURRIED = 3.0


class PacedWork:
    """Does slices, and rests after each, once they have taken so long that somebody might notice."""

    def __init__(self, rest: float) -> None:
        """Rests `rest` times as long as a slice took."""
        self._rest = rest
        self._clock = asyncio.get_running_loop().time
        self._worked = 0.0

    async def do(self, work: Awaitable[T]) -> T:
        """Does one slice."""
        began = self._clock()
        result = await work
        took = self._clock() - began
        self._worked += took
        if self._worked > _SHORT:
            await asyncio.sleep(self._rest * took)
        return result
