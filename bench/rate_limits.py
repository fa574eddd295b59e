"""Prints what counting one request against its rate limit costs the auth process, on a real Redis server.

`python -m bench.rate_limits`. Compared are memory, one script for a whole frame, and the library's own storage and
strategy, which make two round trips for each request. CPU is this process's own; Redis's is not counted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import uvloop
from limits import RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter

from services.auth.rate_limits.local import Limiter, RateLimits, RateLimitState
from services.auth.rate_limits.shared import SharedRateLimits
from services.auth.rate_limits.window_redis import RedisWindowStorage
from tests.support.redis_server import RedisServer

REQUESTS = 4_000
FRAME_SIZES = (1, 8, 32)
LIMIT = 1_000_000

Frame = Callable[[int], Awaitable[object]]


def frame_of(limiter: Limiter) -> Frame:
    async def ask(size: int) -> None:
        answered: asyncio.Future[list[RateLimitState]] = asyncio.get_running_loop().create_future()
        limiter.hit_all([((f"key_{number}", LIMIT),) for number in range(size)], answered.set_result)
        await answered

    return ask


def library_frame(url: str) -> Frame:
    limiter = MovingWindowRateLimiter(RedisStorage(f"async+{url}", implementation="redispy"))
    item = RateLimitItemPerMinute(LIMIT)

    async def one(number: int) -> None:
        await limiter.hit(item, f"library_{number}")
        await limiter.get_window_stats(item, f"library_{number}")

    async def ask(size: int) -> None:
        await asyncio.gather(*(one(number) for number in range(size)))

    return ask


async def measure(name: str, ask: Frame) -> None:
    for size in FRAME_SIZES:
        await ask(size)
        frames = REQUESTS // size
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(frames):
            await ask(size)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        print(f"{name:10} {size:3} in a frame: {cpu / frames / size * 1e6:6.1f} CPU-µs a request, "
              f"{wall / frames * 1e3:5.2f} ms a frame")  # fmt: skip


async def main() -> None:
    async with RedisServer() as server:
        shared = SharedRateLimits(RedisWindowStorage(server.url, timeout=5), RateLimits())
        await measure("memory", frame_of(RateLimits()))
        await measure("shared", frame_of(shared))
        await measure("library", library_frame(server.url))
        await shared.close()


if __name__ == "__main__":
    uvloop.run(main())
