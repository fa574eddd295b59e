"""Rate limits: at most so many requests of a key in any 60 seconds, by the `limits` library's moving window."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol

from limits import RateLimitItemPerMinute
from limits.strategies import MovingWindowRateLimiter

from services.auth.rate_limits.window import RateWindowStorage
from services.common.clock import Clock
from services.common.errors import Code, MeshError

WINDOW_SECONDS = 60

# One request of a key, by its id, and how many of them are allowed in any 60 seconds; 0 means no limit.
Hit = tuple[str, int]


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


UNLIMITED = RateLimitState(limit=0, remaining=0, reset_ms=0)

# Takes the states after each of the hits, in their order.
OnCounted = Callable[[list[RateLimitState]], None]


# The library's name for a limit; there are few different ones.
item_of = lru_cache(maxsize=1000)(RateLimitItemPerMinute)


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
        self._storage = RateWindowStorage(clock)
        self._limiter = MovingWindowRateLimiter(self._storage)

    def hit_all(self, hits: Sequence[Hit], answer: OnCounted) -> None:
        """Counts requests and answers before it returns."""
        answer([self.hit(key_id, limit) for key_id, limit in hits])

    async def close(self) -> None:
        """Has nothing to let go of."""

    def hit(self, key_id: str, limit: int) -> RateLimitState:
        """Counts one request of a key, unless `limit` refuses it."""
        if limit == 0:
            return UNLIMITED
        item = item_of(limit)
        allowed = self._limiter.hit(item, key_id)
        next_free, remaining = self._limiter.get_window_stats(item, key_id)
        if allowed:
            # This request is the newest, so the window is empty once it has left.
            return RateLimitState(limit, remaining, WINDOW_SECONDS * 1000)
        now = self._clock()
        full_again = self._storage.newest(item.key_for(key_id)) + WINDOW_SECONDS
        return RateLimitState(limit, 0, _ms_until(full_again, now), max(1, _ms_until(next_free, now)) / 1000)


def _ms_until(moment: float, now: float) -> int:
    # Rounded up: whoever waits exactly this long must not come too early.
    return max(0, math.ceil((moment - now) * 1000))
