"""What etcd is to runners and routers: records under leases, and news of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from services.common.registry import RunnerRecord
from services.router.runners.table import Table
from tests.simulator.machine.loop import Process, VirtualLoop

# Seconds: how long a record outlives its runner, how often runners renew it, and how long news takes.
LEASE, _RENEWED, _NEWS = 5.0, 1.0, 0.005


class Registry:
    """All records and those who follow them."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._records: dict[str, tuple[RunnerRecord, float]] = {}
        self._tables: dict[Process, Table] = {}

    def follow(self, process: Process, table: Table) -> None:
        """Tells a table of all records, and from then on of every change."""
        self._tables[process] = table
        self._loop.call_later(
            _NEWS,
            lambda: table.replace([record for record, _ in self._records.values()]),
            context=process.context.copy(),
        )

    async def keep(self, record: RunnerRecord) -> None:
        """Registers a runner, and renews its lease until cancelled."""
        while True:
            self.put(record)
            await asyncio.sleep(_RENEWED)

    def put(self, record: RunnerRecord) -> None:
        """Registers a runner, or renews its lease."""
        known, _ = self._records.get(record.id, (None, 0.0))
        self._records[record.id] = record, self._loop.now + LEASE
        if known != record:
            self._tell(lambda table: table.register(record))

    async def expire(self) -> None:
        """Forgets the records whose leases were not renewed, for ever."""
        while True:
            await asyncio.sleep(_RENEWED)
            for runner_id in [name for name, (_, until) in self._records.items() if until < self._loop.now]:
                del self._records[runner_id]
                self._tell(partial(_unregister, runner_id))

    def _tell(self, news: Callable[[Table], None]) -> None:
        for process, table in self._tables.items():
            if not process.dead:
                self._loop.call_later(_NEWS, news, table, context=process.context.copy())


def _unregister(runner_id: str, table: Table) -> None:
    table.unregister(runner_id)
