"""A whole mesh of real processes, each of which can be killed and comes back on its own address with its own data."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from services.auth.store.store import MIGRATIONS as AUTH_MIGRATIONS
from services.billing.store.store import MIGRATIONS as BILLING_MIGRATIONS
from services.common.database.base import Database
from services.common.database.migrations import migrate
from tests.chaos.plan import SWALLOW, Fault
from tests.chaos.record import Hit
from tests.chaos.wire import Wire
from tests.support.etcd import EtcdServer
from tests.support.postgres import PostgresServer, create_database
from tests.support.process import ServiceProcess
from tests.support.waiting import eventually

# All speeds and times are those of a mesh at full pace.
# Tokens a second. The prompt takes a quarter of a second, so that clients can leave before the first token.
PREFILL_SPEED, SPEED = 40, 60
# Requests end, one way or the other, before their hold does; all in seconds.
HOLD_TTL = 9.0
REQUEST_TIMEOUT = 6.0
_EDGE_SECONDS = {
    "call_timeout": 2.0,
    "queue_timeout": 3.0,
    "request_timeout": REQUEST_TIMEOUT,
    "settle_timeout": 2.5,
    "drain_seconds": 15.0,
}
_BILLING_SECONDS = {"hold_ttl_seconds": HOLD_TTL, "sweep_seconds": 0.5}
_RUNNER_SPEEDS = {"simulated_speed": SPEED, "simulated_prefill_speed": PREFILL_SPEED}
_READY_SECONDS = 40.0


class Mortal(Protocol):
    """What can be killed."""

    async def kill(self) -> None:
        """Ends it by SIGKILL."""

    async def revive(self) -> None:
        """Starts it again and waits until it serves."""


class World:
    """`async with` starts and ends everything."""

    def __init__(
        self,
        directory: Path,
        *,
        database_server: bool,
        modules: Mapping[str, str] | None = None,
        slowness: float = 1.0,
    ) -> None:
        """`modules` replaces services by others, by name, to plant mistakes; `slowness` is that of the plan."""
        self._directory = directory
        self._slowness = slowness
        self._modules = modules or {}
        self._database_server = PostgresServer() if database_server else None
        self._stack = AsyncExitStack()
        self._mortals: dict[str, Mortal] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self.services: dict[str, ServiceProcess] = {}
        self.ledger_url = ""
        # Every fault that has happened.
        self.hits: list[Hit] = []

    @property
    def base_url(self) -> str:
        """For OpenAI's clients, with /v1."""
        return f"http://{self.services['edge'].address}/v1"

    async def hurt(self, fault: Fault) -> None:
        """Does what a fault says, and returns when it is over."""
        hit = Hit(fault.target, time.time())
        self.hits.append(hit)
        if fault.target == SWALLOW:
            await self._wire.swallow(fault.seconds)
        else:
            async with self._locks.setdefault(fault.target, asyncio.Lock()):
                # The moment that counts is that of the kill, which may have waited for an earlier one's revival.
                hit.began = time.time()
                mortal = self._mortals[fault.target]
                await mortal.kill()
                hit.dead = time.time()
                await asyncio.sleep(fault.seconds)
                await mortal.revive()
        hit.ended = time.time()

    def log(self, service: str) -> str:
        """Everything that a service has logged."""
        return self.services[service].log()

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
        urls = await self._make_databases()
        self.ledger_url = urls["billing"]
        etcd = await self._stack.enter_async_context(EtcdServer(self._directory))
        auth = self._service("auth", {"database_url": urls["auth"]})
        billing = self._service("billing", {"database_url": urls["billing"], **self._slowed(_BILLING_SECONDS)})
        self._wire = await self._stack.enter_async_context(Wire(billing.address))
        router = self._service("router", {"etcd_endpoints": etcd.endpoint})
        runner = {"engine": "simulated", "slots": "12", "etcd_endpoints": etcd.endpoint}
        runner |= {name: str(speed / self._slowness) for name, speed in _RUNNER_SPEEDS.items()}
        for name in ("runner-1", "runner-2"):
            self._service(name, runner)
        addresses = {"auth": auth.address, "billing": self._wire.address, "router": router.address}
        known = {f"{name}_addresses": address for name, address in addresses.items()}
        self._service("edge", known | self._slowed(_EDGE_SECONDS))
        self._mortals["etcd"] = _MortalEtcd(etcd)
        await asyncio.gather(*(self._mortals[name].revive() for name in self.services))
        for process in self.services.values():
            await eventually(process.ready, _READY_SECONDS)

    def _slowed(self, seconds: Mapping[str, float]) -> dict[str, str]:
        return {name: str(value * self._slowness) for name, value in seconds.items()}

    def _service(self, name: str, settings: Mapping[str, str]) -> ServiceProcess:
        process = ServiceProcess(name.partition("-")[0], self._directory, settings, module=self._modules.get(name, ""))
        self.services[name] = process
        self._mortals[name] = _MortalService(process)
        self._stack.push_async_callback(process.kill)
        return process

    async def _make_databases(self) -> dict[str, str]:
        """Returns the URLs of two migrated databases."""
        urls = {name: f"sqlite:///{self._directory / name}.db" for name in ("auth", "billing")}
        if self._database_server is not None:
            server = self._database_server
            self._stack.callback(server.remove)
            await asyncio.to_thread(server.start)
            urls = {name: await asyncio.to_thread(create_database, server.url) for name in urls}
            self._mortals["database"] = _MortalDatabase(server)
        for name, migrations in (("auth", AUTH_MIGRATIONS), ("billing", BILLING_MIGRATIONS)):
            database = Database(urls[name])
            await migrate(database, migrations)
            await database.close()
        return urls


class _MortalService:
    def __init__(self, process: ServiceProcess) -> None:
        self._process = process

    async def kill(self) -> None:
        await self._process.kill()

    async def revive(self) -> None:
        self._process.spawn()
        # Alive is enough: being ready may need others who are down as well.
        await eventually(self._process.answers, _READY_SECONDS)


class _MortalEtcd:
    def __init__(self, server: EtcdServer) -> None:
        self._server = server

    async def kill(self) -> None:
        await self._server.kill()

    async def revive(self) -> None:
        await self._server.start()


class _MortalDatabase:
    def __init__(self, server: PostgresServer) -> None:
        self._server = server

    async def kill(self) -> None:
        await asyncio.to_thread(self._server.kill)

    async def revive(self) -> None:
        await asyncio.to_thread(self._server.start)
