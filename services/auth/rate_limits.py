"""Rate limits: at most so many requests of a key in any 60 seconds, by the `limits` library's moving window."""

from __future__ import annotations

import math
import time
from typing import NamedTuple

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.strategies import MovingWindowRateLimiter

from services.auth.rate_window import RateWindowStorage
from services.common.clock import Clock
from services.common.errors import Code, MeshError

_WINDOW_SECONDS = 60


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
            f"Rate limit reached: this API key may make {self.limit} requests in any 60 seconds. "
            f"Please try again in {seconds} s."
        )
        return MeshError(Code.RATE_LIMITED, message, retry_after=self.retry_after)


_UNLIMITED = RateLimitState(limit=0, remaining=0, reset_ms=0)


class RateLimits:
    """Counts the requests of every key. In memory: a restart forgets the last minute, to the customers' favour.

    `clock` only needs to run steadily; it is not the time of day, which people can set back.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._storage = RateWindowStorage(clock)
        self._limiter = MovingWindowRateLimiter(self._storage)
        self._items: dict[int, RateLimitItem] = {}

    def hit(self, key_id: str, limit: int) -> RateLimitState:
        """Counts one request of a key, unless `limit` refuses it."""
        if limit == 0:
            return _UNLIMITED
        item = self._items.get(limit)
        if item is None:
            item = self._items[limit] = RateLimitItemPerMinute(limit)
        allowed = self._limiter.hit(item, key_id)
        next_free, remaining = self._limiter.get_window_stats(item, key_id)
        if allowed:
            # This request is the newest, so the window is empty once it has left.
            return RateLimitState(limit, remaining, _WINDOW_SECONDS * 1000)
        now = self._clock()
        full_again = self._storage.newest(item.key_for(key_id)) + _WINDOW_SECONDS
        return RateLimitState(limit, 0, _ms_until(full_again, now), max(1, _ms_until(next_free, now)) / 1000)


def _ms_until(moment: float, now: float) -> int:
    # Rounded up: whoever waits exactly this long must not come too early.
    return max(0, math.ceil((moment - now) * 1000))
