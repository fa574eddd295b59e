"""How long to wait before trying again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

# Uniform in [0, 1), as `random.random`.
Randomness = Callable[[], float]

_FIRST_SECONDS = 0.05
_LONGEST_SECONDS = 1.0


class Backoff:
    """Doubling delays up to one second, jittered so that clients who lost etcd together do not return together."""

    def __init__(self, random: Randomness) -> None:
        self._random = random
        self._delay = _FIRST_SECONDS

    def next(self) -> float:
        """Returns the next delay in seconds: between half of it and all of it."""
        delay = self._delay * (0.5 + 0.5 * self._random())
        self._delay = min(self._delay * 2, _LONGEST_SECONDS)
        return delay

    def reset(self) -> None:
        """Starts from the shortest delay again, after a success."""
        self._delay = _FIRST_SECONDS

    async def pause(self) -> None:
        """Sleeps for the next delay."""
        await asyncio.sleep(self.next())
