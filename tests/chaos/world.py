"""A whole mesh of real processes, each of which can suffer and comes back on its own address with its own data.

Between all of them are wires that can suffer too; only the clients, and this process itself, ask without a wire.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import yaml

from services.auth.store.store import MIGRATIONS as AUTH_MIGRATIONS
from services.billing.store.store import MIGRATIONS as BILLING_MIGRATIONS
from services.common.database.base import Database
from services.common.database.migrations import migrate
from services.common.settings import DEFAULT_CATALOG
from tests.chaos.deposits import PROCESSES, ChainBeside
from tests.chaos.faults.fault import PROCESS_KINDS, RUNNERS, UPSTREAMS, Fault, Hit, Kind, replicas, role
from tests.chaos.faults.mortals import READY_SECONDS, Mortal, MortalDatabase, MortalEtcd, MortalService
from tests.chaos.faults.wire import Wire
from tests.chaos.pace import slowness
from tests.chaos.plan import HOLD_SECONDS, UPSTREAM_MODEL
from tests.support.etcd import EtcdServer
from tests.support.forked_service import ForkedServiceProcess, import_services
from tests.support.postgres import PostgresServer, create_database
from tests.support.process import ServiceProcess
from tests.support.waiting import eventually

# All speeds and times are those of a mesh at full pace.
# Tokens a second. The prompt takes a quarter of a second, so that clients can leave before the first token.
PREFILL_SPEED, SPEED = 40, 24
# Requests end, one way or the other, before their hold does; in seconds.
REQUEST_TIMEOUT = 10.0
# How long a runner may show no progress with a request: so little that there is time for another one.
SILENCE = 3.0
# How long a request waits while no runner is there at all: as for a tier that is scaled to zero.
_COLD_START = 3.0
_EDGE_SECONDS = {
    "call_timeout": 2.0,
    "queue_timeout": 3.0,
    "request_timeout": REQUEST_TIMEOUT,
    "settle_timeout": 2.5,
    # So little that a drain cuts some answers off.
    "drain_seconds": 0.8,
    # No client that reads is silent for so long, however slowly it reads.
    "unread_seconds": 1.5,
}
# Shorter than some answers too.
_DRAIN = {"drain_seconds": 2.5}
_BILLING_SECONDS = {"sweep_seconds": 0.5, **_DRAIN}
_RUNNER_SPEEDS = {"simulated_speed": SPEED, "simulated_prefill_speed": PREFILL_SPEED}
_UPSTREAM_SPEEDS = {"speed": SPEED, "prefill_speed": PREFILL_SPEED}
# Any runner alone could serve everybody.
_SLOTS = 48
# Enough for every model of the catalog.
_CONTEXT = 32_768
_WIRED = ("auth", "billing", "router")
_READY_RUNNERS = 'tiermesh_router_runners{state="ready",tier="pro"}'


class World:
    """`async with` starts and ends everything."""

    def __init__(
        self,
        directory: Path,
        *,
        database_server: bool,
        hold_seconds: float = HOLD_SECONDS,
        upstream: bool = False,
        modules: Mapping[str, str] | None = None,
        chain: bool = False,
    ) -> None:
        """`modules` replaces services by others, by name or role, to plant mistakes; `chain` adds one, and payments.

        With `upstream`, a further tier has runners in front of servers with OpenAI's API.
        """
        self._upstream = upstream
        self._directory = directory
        self._hold_seconds = hold_seconds
        self._modules = modules or {}
        self.chain = ChainBeside() if chain else None
        self._database_server = PostgresServer() if database_server else None
        self._stack = AsyncExitStack()
        self._mortals: dict[str, Mortal] = {}
        self._wires: dict[str, Wire] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        # By how much everything in it takes longer than at full pace: as much as this machine needs. Known once the
        # first processes run.
        self.slowness = 1.0
        self.services: dict[str, ServiceProcess] = {}
        self.ledger_url = ""
        # Every fault that has happened.
        self.hits: list[Hit] = []
        # Those that were asked to end and did not end in good order.
        self.bad_ends: list[str] = []

    @property
    def edge(self) -> ServiceProcess:
        """What clients talk to."""
        return self.services["edge-1"]

    @property
    def base_url(self) -> str:
        """For OpenAI's clients, with /v1."""
        return f"http://{self.edge.address}/v1"

    async def hurt(self, fault: Fault) -> None:
        """Does what a fault says, and returns when it is over."""
        hit = Hit(fault.target, time.time(), kind=fault.kind)
        self.hits.append(hit)
        if fault.kind in PROCESS_KINDS:
            async with self._lock(fault.target):
                # The moment that counts is that of the fault, which may have waited for an earlier one's end.
                hit.began = time.time()
                await self._hurt_process(fault, hit)
        else:
            wires = [wire for name, wire in self._wires.items() if fault.target in {name, role(name)}]
            await asyncio.gather(*(wire.suffer(fault.kind, fault.seconds) for wire in wires))
        if stalled := fault.stalled_runner:
            # As its operator would: routers keep a runner out for minutes that made no progress, but not a new one.
            async with self._lock(stalled):
                await self._mortals[stalled].kill()
                await self._mortals[stalled].revive()
        hit.ended = time.time()

    def _lock(self, target: str) -> asyncio.Lock:
        """One fault after the other happens to a process."""
        return self._locks.setdefault(target, asyncio.Lock())

    async def _hurt_process(self, fault: Fault, hit: Hit) -> None:
        mortal = self._mortals[fault.target]
        match fault.kind:
            case Kind.FREEZE:
                mortal.freeze()
                await asyncio.sleep(fault.seconds)
                mortal.thaw()
            case Kind.FULL:
                await mortal.fill()
                await asyncio.sleep(fault.seconds)
                await mortal.free()
            case Kind.DRAIN:
                if (code := await mortal.drain()) != 0:
                    self.bad_ends.append(f"{fault.target} ended with {code}")
                hit.dead = time.time()
                await asyncio.sleep(fault.seconds)
                await mortal.revive()
            case _:
                await mortal.kill()
                hit.dead = time.time()
                await asyncio.sleep(fault.seconds)
                await mortal.revive()

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
        self._mortals["etcd"] = MortalEtcd(etcd)
        etcd_address = await self._wire("etcd", etcd.endpoint)
        catalog = {"catalog_file": str(self._write_catalog())}
        await asyncio.to_thread(import_services)
        # Nothing of these has to be slowed, so they tell how slow everything else has to be.
        first = self._replicas("auth", catalog | {"database_url": urls["auth"], **self._slowed(_DRAIN)})
        first += self._replicas("router", catalog | {"etcd_endpoints": etcd_address, **self._slowed(_DRAIN)})
        self.slowness = slowness(await self._revive(first))
        self._wires["etcd"].slowness = self.slowness
        # Those that run look at it every two seconds.
        self._write_catalog()
        billing = self._slowed(_BILLING_SECONDS | {"hold_ttl_seconds": self._hold_seconds})
        names = self._replicas("billing", catalog | {"database_url": urls["billing"], **billing})
        for name in RUNNERS:
            names.append(await self._runner(name, catalog | {"etcd_endpoints": etcd_address}))
        if self._upstream:
            names += await self._upstream_tier(catalog | {"etcd_endpoints": etcd_address})
        known = {f"{name}_addresses": ",".join(await self._wires_of(name)) for name in _WIRED}
        names.append(self._service("edge-1", catalog | known | self._slowed(_EDGE_SECONDS)))
        if self.chain is not None:
            names += await self._payments(self.chain, catalog, known["billing_addresses"])
        await self._revive(names)
        for process in self.services.values():
            await eventually(process.ready, READY_SECONDS)
        await eventually(self._all_are_connected, READY_SECONDS)

    async def _payments(self, chain: ChainBeside, catalog: Mapping[str, str], billing_addresses: str) -> list[str]:
        """Starts the chain, and adds the processes that watch it."""
        self._stack.callback(chain.stop)
        await chain.start()
        settings = {**catalog, **chain.settings(billing_addresses, self.slowness)}
        return [self._service(name, settings) for name in PROCESSES]

    async def _all_are_connected(self) -> bool:
        """Whether all know of each other: edges and routers are ready as soon as somebody is there."""
        edge = await self.edge.metrics()
        for name in _WIRED:
            connects = _sample(edge, f'tiermesh_batch_connects_total{{stream="{name}"}}')
            if connects < sum(role(process) == name for process in self.services):
                return False
        routers = [process for process in self.services.values() if process.name == "router"]
        known = [_sample(await router.metrics(), _READY_RUNNERS) for router in routers]
        return all(count == len(RUNNERS) for count in known)

    async def _revive(self, names: list[str]) -> float:
        """Starts processes and returns how many seconds that took."""
        began = time.monotonic()
        await asyncio.gather(*(self._mortals[name].revive() for name in names))
        return time.monotonic() - began

    def _replicas(self, name: str, settings: Mapping[str, str]) -> list[str]:
        """Adds the processes of a service and returns their names."""
        names = replicas(name, database_server=self._database_server is not None)
        return [self._service(process, settings) for process in names]

    def _service(self, name: str, settings: Mapping[str, str]) -> str:
        """Adds a process, which is not started yet, and returns its name."""
        module = self._modules.get(name) or self._modules.get(role(name), "")
        self._add(name, ForkedServiceProcess(role(name), self._directory, settings, module=module))
        return name

    def _add(self, name: str, process: ServiceProcess) -> None:
        self.services[name] = process
        self._mortals[name] = MortalService(process)
        self._stack.push_async_callback(process.kill)

    async def _runner(self, name: str, settings: Mapping[str, str]) -> str:
        fixed = {"engine": "simulated", "slots": str(_SLOTS), "context": str(_CONTEXT), "id": name}
        settings = {**fixed, **self._speeds(_RUNNER_SPEEDS), **settings, **self._slowed(_DRAIN)}
        settings["advertise"] = await self._wire(name)
        self._wires[name].target = self.services[self._service(name, settings)].address
        return name

    async def _upstream_tier(self, settings: Mapping[str, str]) -> list[str]:
        """Adds the servers with OpenAI's API and a runner in front of each, and returns the names of all."""
        names = []
        for server, runner in UPSTREAMS.items():
            process = ForkedServiceProcess(
                role(server), self._directory, self._speeds(_UPSTREAM_SPEEDS), module="tests.support.openai_server"
            )
            self._add(server, process)
            url = f"http://{await self._wire(server, process.address)}/v1"
            upstream = {"engine": "upstream", "upstream_url": url, "tier": "upstream"}
            names += [server, await self._runner(runner, {**settings, **upstream})]
        return names

    async def _wires_of(self, name: str) -> list[str]:
        """Lays a wire to each process of a service and returns their addresses."""
        processes = [process for process in self.services if role(process) == name]
        return [await self._wire(process, self.services[process].address) for process in processes]

    async def _wire(self, name: str, target: str = "") -> str:
        """Lays a wire and returns its address."""
        wire = self._wires[name] = await self._stack.enter_async_context(Wire(target, self.slowness))
        return wire.address

    def _speeds(self, speeds: Mapping[str, float]) -> dict[str, str]:
        return {name: str(speed / self.slowness) for name, speed in speeds.items()}

    def _slowed(self, seconds: Mapping[str, float]) -> dict[str, str]:
        return {name: str(value * self.slowness) for name, value in seconds.items()}

    def _write_catalog(self) -> Path:
        """Writes the catalog of a mesh whose runners come and go, and returns its path."""
        catalog = yaml.safe_load(DEFAULT_CATALOG.read_text())
        if self._upstream:
            chat = next(model for model in catalog["models"] if model["id"] == "tiermesh-pro")
            catalog["models"].append({**chat, "id": UPSTREAM_MODEL, "tier": "upstream"})
        for model in catalog["models"]:
            model["silence_seconds"] = math.ceil(SILENCE * self.slowness)
            model["cold_start_seconds"] = math.ceil(_COLD_START * self.slowness)
        path = self._directory / "models.yaml"
        path.write_text(yaml.safe_dump(catalog))
        return path

    async def _make_databases(self) -> dict[str, str]:
        """Returns the URLs of two migrated databases."""
        urls = {name: f"sqlite:///{self._directory / name}.db" for name in ("auth", "billing")}
        if self._database_server is not None:
            server = self._database_server
            self._stack.callback(server.remove)
            await asyncio.to_thread(server.start)
            urls = {name: await asyncio.to_thread(create_database, server.url) for name in urls}
            self._mortals["database"] = MortalDatabase(server)
        for name, migrations in (("auth", AUTH_MIGRATIONS), ("billing", BILLING_MIGRATIONS)):
            database = Database(urls[name])
            await migrate(database, migrations)
            await database.close()
        return urls


def _sample(metrics: str, series: str) -> float:
    """Returns a figure of a page of metrics, 0 if it is not there."""
    return float(metrics.partition(f"\n{series} ")[2].partition("\n")[0] or 0)
