"""When keys were last used: noted in memory, written in batches, to about a minute."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from itertools import islice
from typing import Protocol

from services.common.errors import MeshError
from services.common.telemetry.logs import get_logger

log = get_logger()

# Keys written in one transaction; other writers get their turn between two.
BATCH = 500


class LastUsedStore(Protocol):
    """Where times of last use are kept."""

    async def set_last_used(self, times_ms: Mapping[str, int]) -> None:
        """Moves the time of last use of each key, by key id, forward to the one given."""


class LastUsed:
    """Collects times of last use. `note` costs a dictionary entry; `run` writes them now and then."""

    def __init__(self, store: LastUsedStore, interval: float) -> None:
        self._store = store
        self._interval = interval
        self._pending: dict[str, int] = {}

    def note(self, key_id: str, now_ms: int) -> None:
        """Remembers that a key was used."""
        self._pending[key_id] = now_ms

    async def run(self) -> None:
        """Writes what was noted, every `interval` seconds, until cancelled. What cannot be written is tried again."""
        while True:
            await asyncio.sleep(self._interval)
            await self._flush_or_warn()

    async def drain(self, seconds: float) -> None:
        """Writes what was noted, taking at most `seconds`. What is lost then is a minute's worth of these times."""
        try:
            async with asyncio.timeout(seconds):
                await self._flush_or_warn()
        except TimeoutError:
            log.warning("last_used_not_written", reason="out of time")

    async def _flush_or_warn(self) -> None:
        try:
            await self.flush()
        except MeshError as error:
            log.warning("last_used_not_written", keys=len(self._pending), reason=error.message)
        except Exception:
            # Verifying keys matters more than these times: a defect here must not end the process.
            log.exception("last_used_not_written", keys=len(self._pending))

    async def flush(self) -> None:
        """Writes what was noted so far. Raises MeshError as the store does, and then keeps what was not written."""
        unwritten, self._pending = self._pending, {}
        try:
            while unwritten:
                batch = dict(islice(unwritten.items(), BATCH))
                await self._store.set_last_used(batch)
                for key_id in batch:
                    del unwritten[key_id]
        finally:
            # What was noted meanwhile is the later time.
            self._pending = unwritten | self._pending
