"""Tells when calls are overdue, with one timer for all of them: one for each would cost more than the call itself.

Calls that are due in the same tick share a bucket (a timing wheel without the wheel: Varghese and Lauck, 1987).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

# Seconds; a call is told at most so much after its deadline, never before it.
TICK = 0.02
# A turn that is so many seconds late was held up by a pause of this process. Then nobody is told yet: what has come in
# the pause is read first, for so many seconds.
_PAUSE, _GRACE = 1.0, 0.25


class Deadlines:
    """Deadlines by call id, on the event loop's clock, in seconds."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_due: Callable[[int], None]) -> None:
        self._loop = loop
        self._on_due = on_due
        self._buckets: dict[int, set[int]] = {}
        self._timer: asyncio.TimerHandle | None = None
        # When the timer is due.
        self._turn_at = 0.0
        # Ticks before this one have been told.
        self._next = 0

    def add(self, call_id: int, deadline: float) -> int:
        """Adds a deadline and returns the tick to remove it by."""
        tick = max(math.ceil(deadline / TICK), self._next)
        bucket = self._buckets.get(tick)
        if bucket is None:
            self._buckets[tick] = {call_id}
        else:
            bucket.add(call_id)
        if self._timer is None:
            self._next = min(tick, math.floor(self._loop.time() / TICK))
            self._schedule(TICK)
        return tick

    def remove(self, call_id: int, tick: int) -> None:
        """Removes a deadline; one that has been told already is ignored."""
        bucket = self._buckets.get(tick)
        if bucket is not None:
            bucket.discard(call_id)
            if not bucket:
                del self._buckets[tick]

    def _schedule(self, seconds: float) -> None:
        self._turn_at = self._loop.time() + seconds
        self._timer = self._loop.call_at(self._turn_at, self._turn)

    def _turn(self) -> None:
        if self._loop.time() - self._turn_at > _PAUSE:
            self._timer = self._loop.call_later(_GRACE, self._tell)
        else:
            self._tell()

    def _tell(self) -> None:
        now = math.floor(self._loop.time() / TICK)
        due = [self._buckets.pop(tick) for tick in range(self._next, now + 1) if tick in self._buckets]
        self._next = now + 1
        self._timer = None
        if self._buckets:
            self._schedule(TICK)
        for bucket in due:
            for call_id in bucket:
                self._on_due(call_id)
