"""Follows the runners' records in etcd."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import aclosing

import msgspec

from services.common.etcd import Delete, EtcdClient, EtcdError, Put, Snapshot, WatchEvent, watch_prefix
from services.common.registry import RUNNERS_PREFIX, RunnerRecord
from services.common.telemetry.logs import get_logger
from services.router.runners.table import Table

log = get_logger()

_PREFIX = RUNNERS_PREFIX.encode()


class Registrations:
    """Tells the table what etcd says."""

    def __init__(self, client: EtcdClient, table: Table) -> None:
        self._client = client
        self._table = table

    async def follow(self) -> None:
        """Hands on every change, for ever. While etcd is away the table keeps what it has."""
        async with aclosing(watch_prefix(self._client, _PREFIX)) as events:
            async for event in events:
                self._apply(event)

    async def forget_unregistered(self, grace: float) -> None:
        """Removes runners that live but have had no record for `grace` seconds, for ever.

        Only etcd's own present word counts: if it cannot be asked, the runner may just not have been able to register.
        """
        while True:
            await asyncio.sleep(grace / 4)
            if not self._table.unregistered_for(grace):
                continue
            try:
                present = (await self._client.get_prefix(_PREFIX)).items
            except EtcdError:
                continue
            for runner in self._table.unregistered_for(grace):
                if runner.record.key not in present:
                    self._table.remove(runner)

    def _apply(self, event: WatchEvent) -> None:
        if isinstance(event, Snapshot):
            self._table.replace(_records(event.items.items()))
        elif isinstance(event, Put):
            for record in _records([(event.key, event.value)]):
                self._table.register(record)
        elif isinstance(event, Delete):
            self._table.unregister(event.key.removeprefix(_PREFIX).decode(errors="replace"))


def _records(items: Iterable[tuple[bytes, bytes]]) -> Iterator[RunnerRecord]:
    """Reads records; one that cannot be read, or that stands under another id, is logged and left out."""
    for key, value in items:
        try:
            record = RunnerRecord.from_json(value)
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            log.warning("runner_record_unreadable", key=key.decode(errors="replace"), reason=str(error))
            continue
        if record.key == key:
            yield record
        else:
            log.warning("runner_record_misplaced", key=key.decode(errors="replace"), runner=record.id)
