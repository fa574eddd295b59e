"""Rate limits: at most so many requests of a key in any 60 seconds, by the `limits` library's moving window."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol

from limits import RateLimitItemPerMinute
from limits.strategies import MovingWindowRateLimiter

from services.auth.lineage import Limit
from services.auth.rate_limits.window import RateWindowStorage
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
            f"keys that share this limit. "
            f"Please try again in {seconds} s."
        )
        return MeshError(Code.RATE_LIMITED, message, retry_after=self.retry_after)


def tightest(states: Sequence[RateLimitState]) -> RateLimitState:
    """Returns what to tell of a request that counts against these limits: which one hinders it, or will be the next."""
    return max(states, key=lambda state: (state.retry_after, -state.remaining))


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
        answer([self._hit_each(hit) for hit in hits])

    async def close(self) -> None:
        """Has nothing to let go of."""

    def hit(self, key_id: str, limit: int) -> RateLimitState:
        """Counts one request of a key, unless `limit` refuses it."""
        if limit == 0:
            return UNLIMITED
        item = item_of(limit)
        if not self._limiter.hit(item, key_id):
            return self._refused(key_id, limit)
        _, remaining = self._limiter.get_window_stats(item, key_id)
        # This request is the newest, so the window is empty once it has left.
        return RateLimitState(limit, remaining, WINDOW_SECONDS * 1000)

    def _hit_each(self, hit: Hit) -> RateLimitState:
        if len(hit) == 1:
            return self.hit(*hit[0])
        if not hit:
            return UNLIMITED
        full = [each for each in hit if not self._limiter.test(item_of(each[1]), each[0])]
        return tightest([self._refused(*each) for each in full] or [self.hit(*each) for each in hit])

    def _refused(self, key_id: str, limit: int) -> RateLimitState:
        item = item_of(limit)
        next_free, _ = self._limiter.get_window_stats(item, key_id)
        now = self._clock()
        full_again = self._storage.newest(item.key_for(key_id)) + WINDOW_SECONDS
        return RateLimitState(limit, 0, _ms_until(full_again, now), max(1, _ms_until(next_free, now)) / 1000)


def _ms_until(moment: float, now: float) -> int:
    # Rounded up: whoever waits exactly this long must not come too early.
    return max(0, math.ceil((moment - now) * 1000))
