"""Rate limits that several replicas share, by Redis or Valkey; each replica limits by itself while that is away."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from services.auth.metrics import LIMITER_FAILURES, LOCAL_LIMITS
from services.auth.rate_limits.local import (
    UNLIMITED,
    WINDOW_SECONDS,
    Hit,
    OnCounted,
    RateLimits,
    RateLimitState,
    tightest,
)
from services.auth.rate_limits.window_redis import FAILURES, Entry, RedisWindows, Window
from services.common.telemetry.logs import get_logger

log = get_logger()

# How long a frame waits for the server before it is limited by this replica alone, and how often a server that has
# failed is tried again; in seconds.
TIMEOUT = 0.5
_TRY_AGAIN = 0.5
# A window that holds nothing: asking for it tells whether the server works.
_PROBE = "tiermesh:probe"


class SharedRateLimits:
    """Counts each frame in one round trip. No request fails because the server does: availability comes first.

    While the server is away a key may make as many requests as its limit says at each replica.
    """

    def __init__(self, windows: RedisWindows, local: RateLimits, *, window_seconds: int = WINDOW_SECONDS) -> None:
        self._windows = windows
        self._local = local
        self._window_seconds = window_seconds
        self._running: set[asyncio.Task[None]] = set()
        # Runs while the server is away, and only then.
        self._recovering: asyncio.Task[None] | None = None

    def hit_all(self, hits: Sequence[Hit], answer: OnCounted) -> None:
        """Counts requests; answers at once if none has a limit or the server is away, else when it has answered."""
        if not any(hits):
            answer([UNLIMITED] * len(hits))
        elif self._recovering is not None:
            self._limit_alone(hits, answer)
        else:
            task = asyncio.get_running_loop().create_task(self._count(hits, answer))
            self._running.add(task)
            task.add_done_callback(self._counted)

    async def close(self) -> None:
        """Closes the connections; what is being counted is answered first."""
        if self._recovering is not None:
            self._recovering.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._windows.close()

    async def _count(self, hits: Sequence[Hit], answer: OnCounted) -> None:
        try:
            async with asyncio.timeout(TIMEOUT):
                states = await self._ask(hits)
        except FAILURES as error:
            LIMITER_FAILURES.inc()
            self._lost(error)
            self._limit_alone(hits, answer)
        except Exception:
            # Whatever it is, each call gets an answer.
            LIMITER_FAILURES.inc()
            log.exception("rate_limits_failed")
            self._limit_alone(hits, answer)
        else:
            answer(states)

    def _counted(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # The answers could not be given; their calls end at their deadlines.
            log.error("rate_limits_failed", exc_info=error)

    async def _ask(self, hits: Sequence[Hit]) -> list[RateLimitState]:
        entries = [
            Entry(window_key(key_id, limit), limit, joined=place > 0)
            for hit in hits
            for place, (key_id, limit) in enumerate(hit)
        ]
        windows = iter(await self._windows.acquire_all(entries, self._window_seconds))
        return [self._tightest([(limit, next(windows)) for _, limit in hit]) if hit else UNLIMITED for hit in hits]

    def _tightest(self, windows: Sequence[tuple[int, Window]]) -> RateLimitState:
        full = [each for each in windows if not each[1].allowed]
        return tightest([self._state(limit, window) for limit, window in full or windows])

    def _state(self, limit: int, window: Window) -> RateLimitState:
        if window.allowed:
            return RateLimitState(limit, limit - window.used, window.empty_ms)
        return RateLimitState(limit, 0, window.empty_ms, max(1, window.next_free_ms) / 1000)

    def _limit_alone(self, hits: Sequence[Hit], answer: OnCounted) -> None:
        LOCAL_LIMITS.inc(len(hits))
        self._local.hit_all(hits, answer)

    def _lost(self, error: Exception) -> None:
        if self._recovering is None:
            # Only the kind: the text may hold the address with its password.
            log.warning("rate_limits_not_shared", reason=type(error).__name__)
            self._recovering = asyncio.get_running_loop().create_task(self._recover())

    async def _recover(self) -> None:
        """Tries the server until it answers, so that no request has to."""
        while True:
            await asyncio.sleep(_TRY_AGAIN)
            try:
                async with asyncio.timeout(TIMEOUT):
                    await self._windows.acquire_all([Entry(_PROBE, 1, 0)], 1)
            except FAILURES:
                continue
            except Exception:
                # A defect must not end this loop: limits would never be shared again.
                log.exception("rate_limits_failed")
                continue
            self._recovering = None
            log.info("rate_limits_shared_again")
            return


def window_key(key_id: str, limit: int) -> str:
    """Returns where the window of a key is kept. A changed limit begins with an empty window.

    Replicas of every version must agree on it, so it keeps the form that version 0.1 gave it.
    """
    return f"tiermesh:LIMITER/{key_id}/{limit}/1/minute"
