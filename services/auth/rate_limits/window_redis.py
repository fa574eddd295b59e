"""Moving windows in Redis or Valkey, which several replicas share.

All requests of a frame are counted in one round trip, by the server's clock; docs/decisions/0005 has the measurements.
Only processes that are told to use it import this: the client library costs memory.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

_SCRIPT = Path(__file__).with_name("window.lua").read_text(encoding="utf-8")

# What it raises when the server is away, too slow, or not what it should be.
FAILURES = (RedisError, OSError, TimeoutError)


class Entry(NamedTuple):
    """A wish to count `amount` requests in a window of `limit`; 0 only looks."""

    key: str
    limit: int
    amount: int = 1
    # Whether it belongs to the entry before it: all that belong together are counted, or none.
    joined: bool = False


class Window(NamedTuple):
    """A window after that; times are from now on, in milliseconds."""

    # Whether this window allows it; another one that it is joined to may not.
    allowed: bool
    used: int
    # Until as many requests again would be allowed.
    next_free_ms: int
    # Until no request counts any more.
    empty_ms: int


class RedisWindows:
    """Counts in `redis://host:port/db`, `rediss://…` or `redis+unix:///path`; `valkey://…` means the same protocol."""

    def __init__(self, url: str, *, timeout: float) -> None:
        """Connects with the first use. `timeout` is in seconds, for connecting and for each answer.

        Raises ValueError for what is no such URL; its text may repeat the password.
        """
        self._redis = Redis.from_url(
            _redis_url(url),
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            # One more try at once: a connection that has waited in the pool may be dead.
            retry=Retry(NoBackoff(), 1),
        )
        self._script = self._redis.register_script(_SCRIPT)

    async def acquire_all(self, entries: Sequence[Entry], expiry: int) -> list[Window]:
        """Counts every entry in its window of `expiry` seconds, in order and in one round trip; raises `FAILURES`."""
        keys = [entry.key for entry in entries]
        numbers = [expiry * 1000]
        for entry in entries:
            numbers += (entry.limit, entry.amount, int(entry.joined))
        flat = await self._script(keys, numbers)
        return [
            Window(bool(flat[at]), flat[at + 1], flat[at + 2], flat[at + 3]) for at in range(0, 4 * len(entries), 4)
        ]

    async def close(self) -> None:
        """Closes the connections."""
        await self._redis.aclose()


def _redis_url(url: str) -> str:
    """Returns the URL with a scheme that redis-py knows."""
    return re.sub(r"^redis\+unix", "unix", re.sub("^valkey", "redis", url))
