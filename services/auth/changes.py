"""Keeps a replica's keys in step with the database that it shares with others.

Every change of a key takes the next change number, which its transaction locks until it commits; so numbers become
visible in order, and "everything after the last number I saw" misses nothing. Each replica asks for that several times
a second, at the cost of reading one row. A replica that has not been answered for too long knows nothing of
revocations made elsewhere, so it says that it is stale, and is not to be trusted until it has caught up.
"""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple, Protocol

from services.auth.key_cache import KeyCache
from services.auth.keys import ApiKey
from services.common.clock import Clock
from services.common.errors import MeshError
from services.common.retry.outage import Outage
from services.common.telemetry.logs import get_logger

log = get_logger()

# So many keys are loaded at a time: three milliseconds of the event loop, ten when memory for keys is full.
_PAGE = 250


class Changes(NamedTuple):
    """What has changed after some number."""

    # The number of the last change.
    last: int
    # The highest number of a key that was deleted; a replica that has seen less cannot learn of it by numbers.
    forgotten: int
    keys: list[ApiKey]


class ChangeStore(Protocol):
    """Where keys and the numbers of their changes are kept."""

    async def load_keys(self, after: str = "", limit: int = 0) -> tuple[int, list[ApiKey]]:
        """Returns the keys whose ids come after the one given, `limit` of them at most; 0 is no bound.

        The number is that of the last change that they show.
        """

    async def changed_since(self, number: int) -> Changes:
        """Returns what has changed after the number given."""


class ChangeFollower:
    """Brings changes made by other replicas into the cache. Times are in seconds; `clock` never goes back."""

    def __init__(
        self,
        store: ChangeStore,
        keys: KeyCache,
        *,
        interval: float,
        max_stale: float,
        clock: Clock = time.monotonic,
    ) -> None:
        self._store = store
        self._keys = keys
        self._interval = interval
        self._max_stale = max_stale
        self._clock = clock
        self._last_number = 0
        self._in_step_at = clock()
        self._outage = Outage()

    @property
    def staleness(self) -> float:
        """How long ago the cache is known to have been complete."""
        return self._clock() - self._in_step_at

    @property
    def fresh(self) -> bool:
        """Whether what the cache says may be trusted."""
        return self.staleness <= self._max_stale

    async def load(self) -> None:
        """Fills the cache with every key there is; raises MeshError UNAVAILABLE as the store does."""
        asked_at = self._clock()
        load = self._keys.begin_load()
        number, page = await self._store.load_keys(limit=_PAGE)
        load.add(page)
        while len(page) >= _PAGE:
            # What changes from now on has a higher number than the first page shows, and is asked for by that.
            _, page = await self._store.load_keys(page[-1].id, _PAGE)
            load.add(page)
        load.finish()
        self._last_number, self._in_step_at = number, asked_at

    async def run(self) -> None:
        """Asks for changes, every `interval` seconds, until cancelled."""
        while True:
            await asyncio.sleep(self._interval)
            try:
                await self.catch_up()
            except MeshError as error:
                if self._outage.begin():
                    log.warning("key_changes_unknown", reason=error.message, trusted_for_seconds=self._max_stale)
            except Exception:
                # A defect must not end this loop, for nobody would learn of revocations any more.
                log.exception("key_changes_failed")
            else:
                if self._outage.end():
                    log.info("key_changes_known_again")

    async def catch_up(self) -> None:
        """Takes in what has changed since the last time; raises MeshError UNAVAILABLE as the store does."""
        # The answer is at least as new as this moment.
        asked_at = self._clock()
        changes = await self._store.changed_since(self._last_number)
        if changes.last < self._last_number:
            # The database lost its last changes, as after a fail-over to a copy that lagged: numbers are given again.
            log.warning("key_changes_lost", had=self._last_number, has=changes.last)
            await self.load()
            return
        if self._last_number < changes.forgotten:
            # A key was revoked and deleted while this replica could not see it.
            log.warning("key_changes_forgotten", had=self._last_number, forgotten=changes.forgotten)
            await self.load()
            return
        for key in changes.keys:
            self._keys.put(key)
        self._last_number = changes.last
        self._in_step_at = asked_at
