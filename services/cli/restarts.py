"""How long to wait before a process that died is started again."""

from __future__ import annotations

FIRST_SECONDS = 0.5
LONGEST_SECONDS = 8.0
# A process that lived this long did not die of its start.
STABLE_SECONDS = 3.0


class RestartDelay:
    """Doubles from death to death, and starts over after a life that was long enough."""

    def __init__(self) -> None:
        self._next = FIRST_SECONDS

    def after(self, lifetime: float) -> float:
        """Returns the delay, in seconds, after a life of `lifetime` seconds."""
        if lifetime >= STABLE_SECONDS:
            self._next = FIRST_SECONDS
        delay = self._next
        self._next = min(delay * 2, LONGEST_SECONDS)
        return delay
