"""Measures the ledger now and then, off the hot path: what is held, for how long, and whether the books are sound.

The sweeper does not do this, because what the sweeper leaves behind is what has to be seen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from services.billing.ledger.ledger import OpenHolds
from services.billing.metrics import (
    AUDITED,
    FULLY_AUDITED,
    HELD_CREDITS,
    HOLD_TTL,
    IMBALANCE,
    OLDEST_HOLD,
    OPEN_HOLDS,
    VIOLATIONS,
)
from services.billing.store.audit.report import Report
from services.common.clock import Clock, to_ms
from services.common.errors import MeshError
from services.common.telemetry.logs import get_logger

log = get_logger()

# Seconds between two looks at the open holds; an index answers that.
INTERVAL = 5.0


class LedgerReader(Protocol):
    """Reads the ledger; `LedgerStore` is one."""

    async def open_holds(self) -> OpenHolds:
        """What is held now."""

    async def audit(self) -> Report:
        """Checks every invariant over all rows."""

    async def audit_new(self) -> Report:
        """Proves what came since the last audit, and compares all balances with it."""


class Observer:
    """Keeps the gauges of the ledger; `hold_ttl` is the age in seconds at which the sweeper releases a hold."""

    def __init__(self, ledger: LedgerReader, clock: Clock, *, hold_ttl: float) -> None:
        self._ledger = ledger
        self._clock = clock
        HOLD_TTL.set(hold_ttl)

    async def follow_holds(self, interval: float = INTERVAL) -> None:
        """Measures the open holds every `interval` seconds until cancelled; a database that is away only delays it."""
        while True:
            await self._attempt("holds_unknown", self.measure)
            await asyncio.sleep(interval)

    async def follow_audits(self, interval: float) -> None:
        """Audits what is new in the ledger every `interval` seconds until cancelled."""
        while True:
            await self._attempt("audit_failed", self.audit_new)
            await asyncio.sleep(interval)

    async def follow_full_audits(self, interval: float) -> None:
        """Audits the whole ledger every `interval` seconds until cancelled, not at once."""
        while True:
            await asyncio.sleep(interval)
            await self._attempt("audit_failed", self.audit_all)

    async def measure(self) -> None:
        """Measures what is held now."""
        holds = await self._ledger.open_holds()
        OPEN_HOLDS.set(holds.count)
        HELD_CREDITS.set(holds.credits)
        oldest_ms = holds.oldest_ms
        OLDEST_HOLD.set(0.0 if oldest_ms is None else max(0, to_ms(self._clock()) - oldest_ms) / 1000)

    async def audit_new(self) -> None:
        """Audits what is new, and says in the log how the ledger is broken if it is."""
        self._tell(await self._ledger.audit_new())

    async def audit_all(self) -> None:
        """Audits the whole ledger, and says in the log how it is broken if it is."""
        self._tell(await self._ledger.audit())
        FULLY_AUDITED.set(self._clock())

    def _tell(self, report: Report) -> None:
        VIOLATIONS.set(len(report.violations))
        IMBALANCE.set(report.imbalance)
        AUDITED.set(self._clock())
        if report.violations:
            log.error("ledger_broken", violations=len(report.violations), first=report.violations[0])

    async def _attempt(self, event: str, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except MeshError as error:
            log.warning(event, reason=error.message)
        except Exception:
            log.exception(event)
