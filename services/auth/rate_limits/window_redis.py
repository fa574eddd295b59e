"""Redis or Valkey for moving windows that several replicas share, as an asynchronous storage of the `limits` library.

The library's own `RedisStorage` makes one round trip to count a request and another one to tell what is left of its
limit, for each request by itself, and goes by each caller's own clock. This one counts all requests of a frame in one
round trip by the server's clock; docs/decisions/0005 has the measurements. Only processes that are told to use it
import this: the client library costs memory.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, cast

from limits.aio.storage import RedisStorage
from limits.aio.storage.redis.redispy import RedispyBridge
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

_SCRIPT = Path(__file__).with_name("window.lua").read_text(encoding="utf-8")
_PREFIX = "tiermesh"

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


class RedisWindowStorage(RedisStorage):
    """Counts in `redis://host:port/db`, `rediss://…` or `redis+unix:///path`; `valkey://…` means the same protocol."""

    # It is made by name, never by the library from a URL.
    STORAGE_SCHEME = None  # type: ignore[assignment]  # The library allows None, as its base class says.

    def __init__(self, url: str, *, timeout: float) -> None:
        """Connects with the first use. `timeout` is in seconds, for connecting and for each answer."""
        super().__init__(
            re.sub("^valkey", "redis", url),
            implementation="redispy",
            key_prefix=_PREFIX,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            # One more try at once: a connection that has waited in the pool may be dead.
            retry=Retry(NoBackoff(), 1),  # type: ignore[arg-type]  # Every option is passed on to redis-py.
        )
        self._redis = cast("Redis", cast("RedispyBridge", self.bridge).get_connection())
        self._script = self._redis.register_script(_SCRIPT)

    async def acquire_all(self, entries: Sequence[Entry], expiry: int) -> list[Window]:
        """Counts every entry in its window of `expiry` seconds, in order and in one round trip; raises `FAILURES`."""
        keys = [self.bridge.prefixed_key(entry.key) for entry in entries]
        numbers = [expiry * 1000]
        for entry in entries:
            numbers += (entry.limit, entry.amount, int(entry.joined))
        flat = await self._script(keys, numbers)
        return [
            Window(bool(flat[at]), flat[at + 1], flat[at + 2], flat[at + 3]) for at in range(0, 4 * len(entries), 4)
        ]

    async def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Counts for the library's strategies."""
        return (await self.acquire_all([Entry(key, limit, amount)], expiry))[0].allowed

    async def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """Returns for the library's strategies when the oldest request that counts was made, and how many count."""
        window = (await self.acquire_all([Entry(key, limit, 0)], expiry))[0]
        seconds, microseconds = await self._redis.time()
        return seconds + microseconds / 1_000_000 - expiry + window.next_free_ms / 1000, window.used

    async def close(self) -> None:
        """Closes the connections."""
        await self._redis.aclose()
