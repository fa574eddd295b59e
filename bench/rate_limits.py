"""Prints what counting one request against its rate limit costs the auth process, on a real Redis server.

`python -m bench.rate_limits` compares memory with one script for a whole frame. CPU is this process's own: Redis's is
not counted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import uvloop

from bench.machine import header
from services.auth.rate_limits.local import Limiter, RateLimits, RateLimitState
from services.auth.rate_limits.shared import SharedRateLimits
from services.auth.rate_limits.window_redis import RedisWindows
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
        shared = SharedRateLimits(RedisWindows(server.url, timeout=5), RateLimits())
        await measure("memory", frame_of(RateLimits()))
        await measure("shared", frame_of(shared))
        await shared.close()


if __name__ == "__main__":
    print(header())
    uvloop.run(main())
