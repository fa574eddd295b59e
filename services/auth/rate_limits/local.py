"""Rate limits: at most so many requests of a key in any 60 seconds, counted in the memory of this process."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from services.auth.lineage import Limit
from services.auth.rate_limits.window import MovingWindow, MovingWindows
from services.common.clock import Clock
from services.common.errors import Code, MeshError

WINDOW_SECONDS = 60

# One request: the limits that it counts against, in all of them or, if one refuses it, in none.
Hit = tuple[Limit, ...]


class RateLimitState(NamedTuple):
    """A key's limit after one request."""

    # Requests allowed in any 60 seconds; 0 means no limit.
    limit: int
    remaining: int
    # Until the full limit is available again.
    reset_ms: int
    # Seconds until the next request will be allowed; 0 if this one was.
    retry_after: float = 0.0

    @property
    def allowed(self) -> bool:
        """Whether the request may go on."""
        return self.retry_after == 0.0

    def refusal(self) -> MeshError:
        """Returns what the caller of a refused request is told."""
        seconds = math.ceil(self.retry_after)
        message = (
            f"Rate limit reached: this API key may make {self.limit} requests in any 60 seconds, together with the "
            f"keys that share this limit. Please try again in {seconds} s."
        )
        return MeshError(Code.RATE_LIMITED, message, retry_after=self.retry_after)


def tightest(states: Sequence[RateLimitState]) -> RateLimitState:
    """Returns what to tell of a request that counts against these limits: which one hinders it, or will be the next."""
    return max(states, key=lambda state: (state.retry_after, -state.remaining))


UNLIMITED = RateLimitState(limit=0, remaining=0, reset_ms=0)

# Takes the states after each of the hits, in their order.
OnCounted = Callable[[list[RateLimitState]], None]


class Limiter(Protocol):
    """Counts the requests of keys."""

    def hit_all(self, hits: Sequence[Hit], answer: OnCounted) -> None:
        """Counts requests, and answers once: before it returns, or later from the event loop."""

    async def close(self) -> None:
        """Answers what is still being counted, and lets go of connections."""


class RateLimits:
    """Counts the requests of every key. In memory: a restart forgets the last minute, to the customers' favour.

    `clock` only needs to run steadily; it is not the time of day, which people can set back.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        # By key and limit: a changed limit begins with an empty window.
        self._windows = MovingWindows(WINDOW_SECONDS)

    def hit_all(self, hits: Sequence[Hit], answer: OnCounted) -> None:
        """Counts requests and answers before it returns."""
        answer([self.hit(*hit[0]) if len(hit) == 1 else self._hit_together(hit) for hit in hits])

    async def close(self) -> None:
        """Has nothing to let go of."""

    def hit(self, key_id: str, limit: int) -> RateLimitState:
        """Counts one request of a key, unless `limit` refuses it."""
        now = self._clock()
        window = self._windows.window((key_id, limit), now)
        if window.acquire(now, limit):
            # This request is the newest, so the window is empty once it has left.
            return RateLimitState(limit, limit - window.used, WINDOW_SECONDS * 1000)
        return _refused(window, now, limit)

    def _hit_together(self, hit: Hit) -> RateLimitState:
        if not hit:
            return UNLIMITED
        now = self._clock()
        refusals = []
        for name in hit:
            # Asking for the next window may drop this one while it is empty, so it is not kept.
            window = self._windows.window(name, now)
            if not window.allows(now, name[1]):
                refusals.append(_refused(window, now, name[1]))
        return tightest(refusals or [self.hit(*limit) for limit in hit])


def _refused(window: MovingWindow, now: float, limit: int) -> RateLimitState:
    return RateLimitState(limit, 0, _ms_until(window.empty, now), max(1, _ms_until(window.next_free, now)) / 1000)


def _ms_until(moment: float, now: float) -> int:
    # Rounded up: whoever waits exactly this long must not come too early.
    return max(0, math.ceil((moment - now) * 1000))
