"""Moving windows in memory: the requests that were allowed lately, for every key.

A window costs the same however many others there are, and keeps at most about 1,000 entries. No thread is needed:
windows that have run empty are dropped while others are made.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Hashable

# A window with a higher limit than this counts in steps of its length divided by this.
MAX_ENTRIES = 1000
# How many old windows are looked at whenever a new one is made.
_SWEEP = 2


class MovingWindow:
    """The requests of the last `seconds`. Times are seconds of any clock that runs steadily."""

    __slots__ = ("_entries", "_seconds", "used")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        # When requests were allowed, oldest first, as (time of the last one, how many).
        self._entries: deque[tuple[float, int]] = deque()
        # Requests that count now.
        self.used = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def next_free(self) -> float:
        """When the oldest request stops to count. There must be one."""
        return self._entries[0][0] + self._seconds

    @property
    def empty(self) -> float:
        """When the newest request stops to count. There must be one."""
        return self._entries[-1][0] + self._seconds

    def acquire(self, now: float, limit: int) -> bool:
        """Counts a request if no more than `limit` then count; a refused one never counts."""
        if not self.allows(now, limit):
            return False
        self._add(now, self._seconds / MAX_ENTRIES if limit > MAX_ENTRIES else 0.0)
        return True

    def allows(self, now: float, limit: int) -> bool:
        """Whether one more request may be counted."""
        self.forget_old(now)
        return self.used < limit

    def forget_old(self, now: float) -> None:
        """Drops the requests that count no more."""
        entries = self._entries
        while entries and entries[0][0] + self._seconds <= now:
            self.used -= entries.popleft()[1]

    def _add(self, now: float, step: float) -> None:
        """Adds to the newest entry if it lies in the same step, which then counts as the time of its last request.

        So a request may count up to one step too long, never too short: the limit holds in every window.
        """
        self.used += 1
        entries = self._entries
        if step and entries:
            last, count = entries[-1]
            if math.floor(last / step) == math.floor(now / step):
                entries[-1] = (now, count + 1)
                return
        entries.append((now, 1))


class MovingWindows:
    """A window of `seconds` for each name. For one event loop: it takes no locks."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._windows: dict[Hashable, MovingWindow] = {}

    def __len__(self) -> int:
        return len(self._windows)

    def window(self, name: Hashable, now: float) -> MovingWindow:
        """Returns the window of this name, which is made if there is none.

        Making one looks at two old ones and drops those that have run empty. The ones still in use go to the end of the
        queue; so the empty ones are all found in time, and no single request pays for a walk over everything.
        """
        if (found := self._windows.get(name)) is not None:
            return found
        for _ in range(min(_SWEEP, len(self._windows))):
            oldest = next(iter(self._windows))
            window = self._windows.pop(oldest)
            window.forget_old(now)
            if window:
                self._windows[oldest] = window
        made = self._windows[name] = MovingWindow(self._seconds)
        return made
