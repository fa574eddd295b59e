"""Reads keys that are not in memory: all that are wanted at one time in one query, and one query at a time.

So the database has as much to do as one connection can bring, whatever strangers send. A key waits for those that are
being read and for those that wait already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from itertools import islice
from typing import Protocol

from services.auth.key_cache.cache import KeyCache, Reads
from services.auth.key_cache.credential import Credential
from services.auth.keys import ApiKey
from services.auth.metrics import LOOKUPS
from services.common.errors import Code, MeshError
from services.common.telemetry.logs import get_logger

log = get_logger()

# So many keys are read by one query: six milliseconds of the event loop with PostgreSQL.
_BATCH = 250
# So many keys wait for their turn; then others are refused, so that memory stays bounded.
_MOST_WAITING = 5000
# So long all those that waited together are read; callers do not wait much longer.
_SECONDS = 2.0
_AWAY = "The API key cannot be looked up at the moment. Nothing was charged. Try again shortly."
_FOUND, _UNKNOWN, _UNAVAILABLE = (LOOKUPS.labels(result) for result in ("found", "unknown", "unavailable"))


class DigestStore(Protocol):
    """Where keys are kept."""

    async def find_keys(self, digests: Collection[bytes]) -> list[ApiKey]:
        """Returns the keys that there are of the digests given; raises MeshError UNAVAILABLE."""


class KeyLookup:
    """Brings keys from the store into the cache, and to those that wait for them."""

    def __init__(self, keys: KeyCache, store: DigestStore) -> None:
        self._keys = keys
        self._store = store
        self._turn = asyncio.Lock()
        self._waiting = _Batch()

    async def read(self, digests: Collection[bytes]) -> Reads:
        """Returns what the store has, by digest; None for what it has not.

        Raises MeshError UNAVAILABLE if the store does, or does not answer in time, or if too many keys wait.
        """
        batch = self._waiting
        if len(batch.digests) + len(digests) > _MOST_WAITING:
            _UNAVAILABLE.inc(len(digests))
            raise _unavailable()
        batch.digests.update(dict.fromkeys(digests))
        async with self._turn:
            # Whoever comes first reads for all, and for others who come if it is cancelled.
            if not batch.done:
                if batch is self._waiting:
                    self._waiting = _Batch()
                await self._fill(batch)
        if batch.failed:
            raise _unavailable()
        return batch.found

    async def _fill(self, batch: _Batch) -> None:
        try:
            async with asyncio.timeout(_SECONDS):
                for part in _parts(batch.digests):
                    batch.found.update(await self._keys.read(part, self._store.find_keys))
        except (MeshError, TimeoutError):
            batch.failed = True
        except Exception:
            log.exception("key_lookup_failed")
            batch.failed = True
        batch.done = True
        if batch.failed:
            _UNAVAILABLE.inc(len(batch.digests))
        else:
            unknown = sum(credential is None for credential in batch.found.values())
            _UNKNOWN.inc(unknown)
            _FOUND.inc(len(batch.found) - unknown)


class _Batch:
    """Keys that are read together."""

    def __init__(self) -> None:
        # In the order in which they were wanted.
        self.digests: dict[bytes, None] = {}
        self.found: dict[bytes, Credential | None] = {}
        self.done = False
        self.failed = False


def _parts(digests: Collection[bytes]) -> Iterator[list[bytes]]:
    left = iter(digests)
    while part := list(islice(left, _BATCH)):
        yield part


def _unavailable() -> MeshError:
    return MeshError(Code.UNAVAILABLE, _AWAY, retry_after=1.0)
