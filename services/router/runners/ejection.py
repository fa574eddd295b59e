"""How long a runner that failed a request stays out: longer each time, until it has been good for a while."""

from __future__ import annotations

from services.common.retry.backoff import Backoff

FIRST_SECONDS = 0.5
LAST_SECONDS = 30.0
# A runner without a failure for so long starts afresh.
FORGET_SECONDS = 60.0
# A runner that has taken requests twice without any progress stays out so long, and longer each further time: its
# connection looks well, and each request that tries it again loses its bound of silence. One such report may be the
# request's own fault, or bad luck.
FIRST_STALL_SECONDS = 300.0
LAST_STALL_SECONDS = 3600.0
# Such reports are remembered for so long.
FORGET_STALL_SECONDS = 7200.0


class Ejection:
    """The failures of one runner. Times are monotonic seconds."""

    def __init__(self) -> None:
        # Without jitter: one router ejects, and does not return with others.
        self._backoff = Backoff(FIRST_SECONDS, LAST_SECONDS, jitter=0.0)
        self._last = 0.0
        self._stall_backoff = Backoff(FIRST_STALL_SECONDS, LAST_STALL_SECONDS, jitter=0.0)
        self._last_stall: float | None = None
        # Until when it is out because of the second one, or a further one.
        self._stalled_until = 0.0

    def fail(self, now: float) -> float:
        """Notes a failure and returns for how many seconds the runner is out."""
        if now - self._last > FORGET_SECONDS:
            self._backoff.reset()
        self._last = now
        return self._backoff.next()

    def stall(self, now: float) -> float:
        """Notes a request without progress and returns for how many seconds the runner is out from now on.

        Requests that it took before it went out do not lengthen that.
        """
        if now < self._stalled_until:
            return self._stalled_until - now
        last, self._last_stall = self._last_stall, now
        if last is None or now - last > FORGET_STALL_SECONDS:
            self._stall_backoff.reset()
            return self.fail(now)
        seconds = self._stall_backoff.next()
        self._stalled_until = now + seconds
        return seconds
