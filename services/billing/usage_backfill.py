"""Completes the daily sums of a ledger that is older than they are, beside the requests.

Until an account is complete, its reports are added up from its requests, as they always were.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from services.common.errors import MeshError
from services.common.telemetry.logs import get_logger

log = get_logger()

# How many holds are added in one transaction: few enough to delay others by no more than a commit takes.
SLICE = 1_000
# The pause after a slice, as a multiple of the time that the slice took.
_REST = 4.0
# Seconds between two looks whether there is something to add. There is only after an upgrade.
INTERVAL = 60.0


class SumStore(Protocol):
    """Adds holds to the sums; `LedgerStore` is one."""

    async def usage_is_complete(self) -> bool:
        """Whether every ended hold is in the sums."""

    async def backfill_usage(self, holds: int) -> bool:
        """Adds about so many; returns whether there may be more."""


class UsageBackfill:
    """Several replicas may do this at once: each slice is added by one of them."""

    def __init__(self, store: SumStore) -> None:
        self._store = store

    async def run(self, interval: float = INTERVAL) -> None:
        """Looks every `interval` seconds until cancelled; a database that is away only delays it."""
        while True:
            try:
                if not await self._store.usage_is_complete():
                    await self.complete()
            except MeshError as error:
                log.warning("usage_backfill_delayed", reason=error.message)
            except Exception:
                log.exception("usage_backfill_failed")
            await asyncio.sleep(interval)

    async def complete(self, slice_size: int = SLICE) -> None:
        """Adds everything, slice by slice."""
        clock = asyncio.get_running_loop().time
        log.info("usage_backfill_begins")
        began = clock()
        while await self._store.backfill_usage(slice_size):
            took = clock() - began
            await asyncio.sleep(_REST * took)
            began = clock()
        log.info("usage_backfilled")
