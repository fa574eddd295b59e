"""One of several billing processes on one ledger, without the process."""

from __future__ import annotations

import asyncio

from services.billing.committer import Committer
from services.billing.ledger.operations import Effect, Operation
from services.billing.store.store import LedgerStore
from services.common.clock import system_clock
from services.common.database.base import LOCK_SECONDS, Database
from services.common.errors import MeshError


class Replica:
    """What one billing process does with operations."""

    def __init__(self, url: str, max_batch: int, *, lock_seconds: float = LOCK_SECONDS) -> None:
        self.database = Database(url, lock_seconds=lock_seconds)
        self.store = LedgerStore(self.database)
        self.committer = Committer(self.store, system_clock, max_batch=max_batch)
        self._task = asyncio.create_task(self.committer.run())

    async def do(self, operation: Operation) -> Effect | MeshError:
        try:
            return await self.committer.execute(operation, 60.0)
        except MeshError as error:
            return error

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self.database.close()
