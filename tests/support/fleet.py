"""A mesh of real processes with two replicas of every service, which can be replaced one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from services.auth.store.store import MIGRATIONS as AUTH_MIGRATIONS
from services.billing.store.store import MIGRATIONS as BILLING_MIGRATIONS
from services.common.database.base import Database
from services.common.database.migrations import migrate
from tests.support.etcd import EtcdServer
from tests.support.forked_service import ForkedServiceProcess
from tests.support.postgres import create_database
from tests.support.waiting import eventually

_READY_SECONDS = 60.0


class Replicas:
    """Two processes of one service that serve, and the address of a third that takes one's place."""

    def __init__(self, name: str, directory: Path, settings: Mapping[str, str]) -> None:
        self.name = name
        self.processes = [ForkedServiceProcess(name, directory, settings) for _ in range(3)]
        *self.live, self._spare = self.processes
        # Where a load balancer sends new connections.
        self.balanced = [process.address for process in self.live]

    @property
    def addresses(self) -> str:
        """Every address at which a replica may listen, for the settings of its callers."""
        return ",".join(process.address for process in self.processes)

    async def replace(self) -> None:
        """Replaces the oldest process as a Deployment does with `maxSurge: 1`: the new one is ready first."""
        old, new = self.live.pop(0), self._spare
        await new.start()
        self._join(new)
        await self._end(old)
        self._spare = old

    async def replace_in_place(self) -> None:
        """Replaces the oldest process as a StatefulSet does: it goes first, the new one comes at the same address."""
        process = self.live.pop(0)
        await self._end(process)
        await process.start()
        self._join(process)

    def log(self) -> str:
        """Everything that the processes have logged."""
        return "".join(process.log() for process in self.processes)

    def _join(self, process: ForkedServiceProcess) -> None:
        self.live.append(process)
        self.balanced.append(process.address)

    async def _end(self, process: ForkedServiceProcess) -> None:
        self.balanced.remove(process.address)
        code = await process.stop()
        assert code == 0, f"{self.name} ended with {code}:\n{process.log()}"


class Fleet:
    """`async with` starts and ends everything; `settings` are added to those of the services."""

    def __init__(self, directory: Path, server_url: str, settings: Mapping[str, Mapping[str, str]]) -> None:
        self._directory = directory
        self._server_url = server_url
        self._settings = settings
        self._stack = AsyncExitStack()
        self.services: dict[str, Replicas] = {}

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _start(self) -> None:
        self.etcd = await self._stack.enter_async_context(EtcdServer(self._directory))
        for name, migrations in (("auth", AUTH_MIGRATIONS), ("billing", BILLING_MIGRATIONS)):
            url = create_database(self._server_url)
            database = Database(url)
            await migrate(database, migrations)
            await database.close()
            self._add(name, {"database_url": url})
        for name in ("router", "runner"):
            self._add(name, {"etcd_endpoints": self.etcd.endpoint})
        callees = ("auth", "billing", "router")
        self._add("edge", {f"{name}_addresses": self.services[name].addresses for name in callees})
        processes = [process for replicas in self.services.values() for process in replicas.live]
        for process in processes:
            process.spawn()
        for process in processes:
            await eventually(process.ready, _READY_SECONDS)

    def _add(self, name: str, settings: Mapping[str, str]) -> None:
        replicas = Replicas(name, self._directory, {**settings, **self._settings.get(name, {})})
        self.services[name] = replicas
        for process in replicas.processes:
            self._stack.push_async_callback(process.kill)
