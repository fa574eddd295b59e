"""How long to wait before trying again."""

from __future__ import annotations

import random
from collections.abc import Callable

from services.common.retry.pause import pause

# Uniform in [0, 1), as `random.random`.
Randomness = Callable[[], float]


class Backoff:
    """Delays that double from `first` to `longest`, both in seconds.

    `jitter` is the share of a delay that chance may take away, from 0 to 1: those who lost the same server together
    then do not return to it together.
    """

    def __init__(
        self, first: float, longest: float, *, jitter: float = 0.5, random: Randomness = random.random
    ) -> None:
        self._first = first
        self._longest = longest
        self._jitter = jitter
        self._random = random
        self._delay = first

    def next(self) -> float:
        """Returns the next delay in seconds."""
        delay = self._delay * (1.0 - self._jitter * (1.0 - self._random())) if self._jitter else self._delay
        self._delay = min(self._delay * 2, self._longest)
        return delay

    def reset(self) -> None:
        """Starts from the shortest delay again, after a success."""
        self._delay = self._first

    async def pause(self) -> None:
        """Sleeps for the next delay; a cancellation that an attempt has swallowed takes effect here."""
        await pause(self.next())
