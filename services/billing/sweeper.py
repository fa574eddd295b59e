"""Releases the holds of edges that died: nobody else will ever settle them."""

from __future__ import annotations

import asyncio
from typing import Protocol

from services.billing.committer import Committer
from services.billing.ledger.operations import Expire
from services.billing.metrics import EXPIRED_HOLDS, SWEPT
from services.common.clock import Clock, to_ms
from services.common.errors import MeshError
from services.common.telemetry.logs import get_logger

log = get_logger()

# How many holds are released at a time, and how long that may wait for its transactions, in seconds.
BATCH = 500
TIMEOUT = 30.0
# A sweep with its sleep that takes so many seconds too long, or a clock that jumps so far, was a pause.
_PAUSE = 5.0


class HoldReader(Protocol):
    """Reads holds; `LedgerStore` is one."""

    async def overdue(self, before_ms: int, limit: int) -> list[str]:
        """The ids of open holds made before a time."""


class Sweeper:
    """Several replicas may sweep at once: an operation on a hold that another has ended changes nothing."""

    def __init__(self, holds: HoldReader, committer: Committer, clock: Clock, *, ttl: float) -> None:
        self._holds = holds
        self._committer = committer
        self._clock = clock
        self._ttl = ttl
        # Of each pause: until when holds may be older because of it, on the clock, and by how many seconds.
        self._excused: list[tuple[float, float]] = []

    async def run(self, every: float) -> None:
        """Sweeps every so many seconds until cancelled; a database that is away only delays it."""
        while True:
            # The process may stand still while it sweeps as well.
            began_at = self._clock()
            try:
                await self.sweep()
            except MeshError as error:
                log.warning("sweep_failed", reason=error.message)
            except Exception:
                log.exception("sweep_failed")
            await asyncio.sleep(every)
            self._excuse(self._clock() - began_at - every)

    async def sweep(self) -> int:
        """Releases every hold that is older than allowed; returns how many there were."""
        now = self._clock()
        self._excused = [(until, seconds) for until, seconds in self._excused if now < until]
        before_ms = to_ms(now - self._ttl - sum(seconds for _, seconds in self._excused))
        total = 0
        while overdue := await self._holds.overdue(before_ms, BATCH):
            await asyncio.gather(*(self._committer.execute(Expire(each), TIMEOUT) for each in overdue))
            total += len(overdue)
            log.warning("holds_expired", count=len(overdue))
            EXPIRED_HOLDS.inc(len(overdue))
        SWEPT.set(self._clock())
        return total

    def _excuse(self, late: float) -> None:
        """Lets the holds that are open now live longer by the time in which this process stood still.

        What edges said meanwhile has not been read yet, and they may have stood still with it.
        """
        if late > _PAUSE:
            self._excused.append((self._clock() + self._ttl, late))
            log.warning("sweep_paused", seconds=round(late))
