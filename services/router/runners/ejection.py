"""How long a runner that failed a request stays out: longer each time, until it has been good for a while."""

from __future__ import annotations

FIRST_SECONDS = 0.5
LAST_SECONDS = 30.0
# A runner without a failure for so long starts afresh.
FORGET_SECONDS = 60.0


class Ejection:
    """Counts the failures of one runner. Times are monotonic seconds."""

    def __init__(self) -> None:
        self.failures = 0
        self._last = 0.0

    def fail(self, now: float) -> float:
        """Notes a failure and returns for how many seconds the runner is out."""
        if now - self._last > FORGET_SECONDS:
            self.failures = 0
        self._last = now
        self.failures += 1
        # The exponent is bounded so that the power stays a small number.
        return min(FIRST_SECONDS * 2.0 ** min(self.failures - 1, 10), LAST_SECONDS)
