"""Every service, wired as its `__main__` wires it, but for the clock, the network and the database."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from functools import cache, partial
from pathlib import Path
from typing import Any, cast

from services.auth.authenticate_stream import Authenticator as KeyChecker
from services.auth.authenticate_stream import authenticate_server
from services.auth.key_cache import KeyCache, KeyLookup
from services.auth.keys import ApiKey, digest_of
from services.auth.last_used import LastUsed
from services.auth.rate_limits.local import RateLimits
from services.auth.service import AuthService
from services.billing.accounts import Accounts
from services.billing.committer import Committer
from services.billing.ledger.prices import Prices
from services.billing.service import BillingService
from services.billing.store.store import LedgerStore
from services.billing.sweeper import Sweeper
from services.billing.transact_stream import transact_server
from services.common.catalog import Catalog, load_catalog
from services.common.registry import RunnerRecord
from services.common.settings import DEFAULT_CATALOG
from services.edge.authentication import Authenticator, auth_client
from services.edge.chat.routes import routes as chat_routes
from services.edge.context import RequestIds
from services.edge.dependencies import Dependencies
from services.edge.http.server import HttpServer
from services.edge.paid.hold import BillingClient, billing_client
from services.edge.paid.path import Mesh as EdgeMesh
from services.edge.paid.path import PaidPath
from services.edge.paid.progress import ProgressWatch
from services.edge.paid.routing import AvailableModels, Placer, router_client
from services.edge.paid.runners import RunnerPool
from services.edge.service import EdgeService
from services.edge.settings import EdgeSettings
from services.router.availability import Availability
from services.router.pauses import Pauses
from services.router.placement import Placement
from services.router.pulse import pulse
from services.router.routing import Limits, Routing
from services.router.runners.drains import Drains
from services.router.runners.status import RunnerStatusStreams
from services.router.runners.table import Table
from services.router.service import LIFE_PERIOD, RouteHandler, RouterService, route_server
from services.runner.engines.simulated.engine import SimulatedEngine
from services.runner.generation import Generation
from services.runner.kinds.base import WorkReader
from services.runner.kinds.choice import work_reader
from services.runner.registration import draining
from services.runner.service import RunnerService, generate_server
from services.runner.status import StatusBoard
from tests.simulator.client import EDGE, secret_of
from tests.simulator.machine.database import LedgerFile
from tests.simulator.machine.loop import Process, VirtualLoop
from tests.simulator.machine.network import Network
from tests.simulator.machine.rpc import Channel, Server
from tests.simulator.plan import CREDITS, SERVICES
from tests.simulator.registry import Registry
from tiermesh.auth.v1.auth_pb2_grpc import add_AuthServiceServicer_to_server
from tiermesh.billing.v1.billing_pb2_grpc import add_BillingServiceServicer_to_server
from tiermesh.router.v1.router_pb2_grpc import add_RouterServiceServicer_to_server
from tiermesh.runner.v1.runner_pb2_grpc import add_RunnerServiceServicer_to_server

# All in seconds, in the proportions of the defaults, as far as a short run allows.
REQUEST_TIMEOUT = 6.0
HOLD_TTL = 9.0
_SWEEP = 0.5
DRAIN = 0.5
EDGE_SETTINGS = EdgeSettings(
    call_timeout=2.0,
    queue_timeout=3.0,
    request_timeout=REQUEST_TIMEOUT,
    settle_timeout=2.5,
    release_timeout=20.0,
    drain_seconds=DRAIN,
    unread_seconds=8.0,
    # With what the sockets hold, this is more than a whole answer, as it nearly always is by default.
    max_unread_bytes=12_288,
    keep_alive_seconds=2.0,
)
# Tokens a second.
PREFILL_SPEED, SPEED = 60, 12
_SLOTS = 3
MODEL = "tiermesh-pro"


@cache
def catalog() -> Catalog:
    """What is sold: one model of the catalog that is shipped, so that routers look after no others."""
    return Catalog([model for model in load_catalog(Path(DEFAULT_CATALOG)).models if model.id == MODEL])


@cache
def _reader() -> WorkReader[Any, Any]:
    """Reads calls for any simulated engine; the template is compiled once."""
    return work_reader(SimulatedEngine())


class Node:
    """A service that can be started, told to end, and killed."""

    def __init__(
        self, mesh: Mesh, name: str, serve: Callable[[Process, asyncio.Event], Coroutine[Any, Any, None]]
    ) -> None:
        self.name = name
        self._mesh = mesh
        self._serve = serve
        self.process = mesh.loop.process(name)
        self.process.dead = True
        self._stop = asyncio.Event()

    def start(self) -> None:
        """Starts it, unless it lives."""
        if self.process.dead:
            self.process = self._mesh.loop.process(self.name)
            self._stop = asyncio.Event()
            self._mesh.loop.spawn(self.process, self._run(self.process, self._stop))

    def kill(self) -> None:
        """Ends it by SIGKILL."""
        if not self.process.dead:
            self._mesh.loop.kill(self.process)
            self._mesh.network.bury(self.process, killed=True)

    def terminate(self) -> None:
        """Ends it by SIGTERM; a process that stands still hears of it when it goes on."""
        self._mesh.loop.call_soon(self._stop.set, context=self.process.context.copy())

    async def _run(self, process: Process, stop: asyncio.Event) -> None:
        try:
            await self._serve(process, stop)
        except Exception as error:  # noqa: BLE001 - the run must tell of it
            self._mesh.loop.errors.append(f"{self.name} died: {error!r}")
        self._mesh.loop.kill(process)
        self._mesh.network.bury(process, killed=False)


class Mesh:
    """All services, not yet started."""

    def __init__(self, loop: VirtualLoop, network: Network, ledger: LedgerFile, chance: random.Random) -> None:
        self.loop = loop
        self.network = network
        self.store = LedgerStore(ledger.database)
        self._chance = chance
        self._registry = Registry(loop)
        # Whose key it is, by the number of the request that it is for; to be set before the start.
        self.accounts: dict[int, int] = {}
        # What may still have something to say to the ledger.
        self._edges: dict[Process, BillingClient] = {}
        self._committers: dict[Process, Committer] = {}
        # How far the clock of the day is ahead of the other one.
        self.clock_ahead = 1_700_000_000.0
        serve = {"edge": self._edge, "auth": self._auth, "billing": self._billing, "router": self._router}
        self.nodes = {
            name: Node(self, name, serve.get(name.partition("-")[0]) or partial(self._runner, name))
            for name in SERVICES
        }

    def start(self) -> None:
        """Starts everything."""
        self.loop.create_task(self._registry.expire())
        for node in self.nodes.values():
            node.start()

    @property
    def at_rest(self) -> bool:
        """Whether nobody has anything left to tell the ledger."""
        edges = (billing._background for process, billing in self._edges.items() if not process.dead)
        committers = (one._idle.is_set() for process, one in self._committers.items() if not process.dead)
        return not any(edges) and all(committers)

    def wall_clock(self) -> float:
        """The time of day, the same for all."""
        return self.loop.now + self.clock_ahead

    def _shuffled(self, *addresses: str) -> list[str]:
        return self._chance.sample(addresses, len(addresses))

    def _server(self, process: Process) -> Server:
        return Server(self.network, process, f"{process.name}:1")

    def _channels(self, process: Process) -> Callable[[str], Any]:
        return partial(Channel, self.network, process)

    async def _auth(self, process: Process, stop: asyncio.Event) -> None:
        keys = KeyCache()
        keys.load(
            ApiKey(
                id=f"key_{number}",
                account_id=f"account_{account}",
                name="",
                hint="",
                digest=digest_of(secret_of(number)),
                requests_per_minute=0,
                created_at_ms=0,
            )
            for number, account in self.accounts.items()
        )
        # All keys are in memory, so nothing is looked up in a store.
        lookup = KeyLookup(keys, cast("Any", None))
        checker = KeyChecker(keys, lookup, LastUsed(cast("Any", None), 60.0), clock=self.wall_clock)
        authenticate = authenticate_server(checker, RateLimits(self.loop.time), lambda: True, clock=self.loop.time)
        server = self._server(process)
        unused = cast("Any", None)
        service = AuthService(unused, unused, unused, unused, unused, authenticate, lambda: True)
        add_AuthServiceServicer_to_server(service, cast("Any", server))
        server.start()
        await stop.wait()
        await server.stop([authenticate], DRAIN)

    async def _billing(self, process: Process, stop: asyncio.Event) -> None:
        committer = self._committers[process] = Committer(self.store, self.wall_clock)
        sweeper = Sweeper(self.store, committer, self.wall_clock, ttl=HOLD_TTL)
        transact = transact_server(committer, Prices(catalog()), clock=self.loop.time)
        server = self._server(process)
        service = BillingService(Accounts(committer, self.store.balance), self.store, transact)
        add_BillingServiceServicer_to_server(service, cast("Any", server))
        server.start()
        committing = asyncio.create_task(committer.run())
        sweeping = asyncio.create_task(sweeper.run(_SWEEP))
        await stop.wait()
        sweeping.cancel()
        await server.stop([transact, committer], DRAIN)
        committing.cancel()

    async def _router(self, process: Process, stop: asyncio.Event) -> None:
        clock, draw = self.loop.time, self._chance.random
        streams = RunnerStatusStreams(self._channels(process), draw)
        table = Table(streams, clock)
        streams.listen(table)
        pauses = Pauses(clock)
        routing = Routing(catalog(), table, Placement(table, clock, draw), Limits(), clock, pauses)
        availability = Availability(catalog(), table)
        handler = RouteHandler(routing, table)
        routes = route_server(handler, clock=clock)
        server = self._server(process)
        # Nobody drains a runner by a call here, and there is no etcd to remember it.
        drains = cast("Drains", None)
        service = RouterService(routes, availability, table, drains, routing.depths, clock)
        add_RouterServiceServicer_to_server(service, cast("Any", server))
        server.start()
        self._registry.follow(process, table)
        background = [
            asyncio.create_task(pulse(pauses.beat, routing.tick, availability.refresh)),
            asyncio.create_task(pulse(handler.show_life, period=LIFE_PERIOD)),
        ]
        await stop.wait()
        await server.stop([availability, routes], DRAIN)
        for task in background:
            task.cancel()
        await streams.close_all()

    async def _runner(self, name: str, process: Process, stop: asyncio.Event) -> None:
        engine = SimulatedEngine(slots=_SLOTS, prefill_tokens_per_second=PREFILL_SPEED, tokens_per_second=SPEED)
        await engine.start()
        status = StatusBoard(name, engine, self.loop.time)
        models = {model.id: model for model in catalog().models}
        generation = Generation(engine, _reader(), models, status, self.loop.time)
        generate = generate_server(generation, clock=self.loop.time)
        server = self._server(process)
        add_RunnerServiceServicer_to_server(RunnerService(generate, status), cast("Any", server))
        server.start()
        record = RunnerRecord(
            id=name,
            address=f"{name}:1",
            tier="pro",
            models=[MODEL],
            context=engine.context,
            slots=_SLOTS,
            engine="simulated",
            version="1",
            vocabulary=engine.vocabulary,
        )
        registration = asyncio.create_task(self._registry.keep(record))
        await stop.wait()
        status.drain()
        registration.cancel()
        self._registry.put(draining(record))
        await server.stop([generate], DRAIN)
        await engine.close()

    async def _edge(self, process: Process, stop: asyncio.Event) -> None:
        settings, clock, channels = EDGE_SETTINGS, self.loop.time, self._channels(process)
        auth = auth_client(["auth:1"], channels, clock=clock)
        billings = self._shuffled("billing-1:1", "billing-2:1")
        billing_batch = billing_client(billings, channels, clock=clock)
        routers = self._shuffled("router-1:1", "router-2:1")
        router = router_client(routers, channels, silence=settings.call_timeout, clock=clock)
        clients = (auth, billing_batch, router)
        billing = BillingClient(
            billing_batch,
            reserve_timeout=settings.call_timeout,
            settle_timeout=settings.settle_timeout,
            release_timeout=settings.release_timeout,
        )
        self._edges[process] = billing
        runners = RunnerPool(lambda _: channels, clock)
        available = AvailableModels(routers, channels)
        progress = ProgressWatch(clock)
        mesh = EdgeMesh(catalog(), available, Placer(router), billing, runners, progress)
        path = PaidPath(mesh, settings, clock)
        unused = cast("Any", None)
        dependencies = Dependencies(
            settings=settings,
            clock=self.wall_clock,
            mesh=mesh,
            path=path,
            image_loader=unused,
            billing=unused,
            auth=unused,
            ready=unused,
        )
        service = EdgeService(
            chat_routes(dependencies),
            Authenticator(auth, settings.call_timeout),
            settings,
            monotonic=clock,
            request_ids=RequestIds(self._chance.getrandbits(64), self.wall_clock),
        )
        http = HttpServer(
            EDGE,
            service.application(),
            head_seconds=settings.head_seconds,
            unread_seconds=settings.unread_seconds,
            cut_off=path.cut_off.now,
            monotonic=clock,
        )
        for client in clients:
            client.open()
        background = [
            asyncio.create_task(available.run()),
            asyncio.create_task(runners.run()),
            asyncio.create_task(progress.run()),
        ]
        await http.start()
        background.append(asyncio.create_task(http.cut_stalled_readers()))
        await stop.wait()
        await http.stop(settings.drain_seconds)
        await billing.drain(settings.drain_seconds)
        for task in background:
            task.cancel()
        for connections in (runners, router, billing_batch, auth):
            await connections.close()


CREDITS_OF = {f"account_{number}": credits_given for number, credits_given in enumerate(CREDITS)}
