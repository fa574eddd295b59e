"""How long a runner that failed a request stays out: longer each time, until it has been good for a while."""

from __future__ import annotations

from services.common.retry.backoff import Backoff

FIRST_SECONDS = 0.5
LAST_SECONDS = 30.0
# A runner without a failure for so long starts afresh.
FORGET_SECONDS = 60.0


class Ejection:
    """The failures of one runner. Times are monotonic seconds."""

    def __init__(self) -> None:
        # Without jitter: one router ejects, and does not return with others.
        self._backoff = Backoff(FIRST_SECONDS, LAST_SECONDS, jitter=0.0)
        self._last = 0.0

    def fail(self, now: float) -> float:
        """Notes a failure and returns for how many seconds the runner is out."""
        if now - self._last > FORGET_SECONDS:
            self._backoff.reset()
        self._last = now
        return self._backoff.next()
