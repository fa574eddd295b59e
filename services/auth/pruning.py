"""Forgets keys that have not worked for a while, so that what is made and revoked does not stay for ever.

What they have spent stays in the ledger, and with the keys that descend from them stays whose limits bind those.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from services.auth.key_cache import KeyCache
from services.common.clock import Clock, system_clock, to_ms
from services.common.errors import MeshError
from services.common.telemetry.logs import get_logger

log = get_logger()

# How often to look, in seconds: often enough that what is kept is not much older than said.
_INTERVAL = 600.0


class EndedKeyStore(Protocol):
    """Where keys are kept."""

    async def delete_ended(self, before_ms: int) -> int:
        """Deletes the keys that were revoked or expired at that time or before, and returns how many there were."""


class Pruner:
    """Deletes keys from the store, and drops them from this replica's memory, `retention` seconds after their end."""

    def __init__(self, store: EndedKeyStore, keys: KeyCache, retention: float, *, clock: Clock = system_clock) -> None:
        self._store = store
        self._keys = keys
        self._retention = retention
        self._clock = clock

    async def run(self) -> None:
        """Prunes now and then, until cancelled."""
        while True:
            try:
                await self.prune()
            except MeshError as error:
                log.warning("dead_keys_not_pruned", reason=error.message)
            except Exception:
                log.exception("pruning_failed")
            await asyncio.sleep(min(_INTERVAL, self._retention))

    async def prune(self) -> None:
        """Prunes once. Every replica does, for each has a memory of its own; raises MeshError as the store does."""
        before_ms = to_ms(self._clock() - self._retention)
        # Memory first: it must be bounded even if the database is away.
        await self._keys.prune(before_ms)
        if deleted := await self._store.delete_ended(before_ms):
            log.info("dead_keys_pruned", keys=deleted)
