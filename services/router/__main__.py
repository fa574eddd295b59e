"""`python -m services.router` runs the router."""

from __future__ import annotations

import asyncio
import random
import time

from prometheus_client import REGISTRY

from services.common.etcd import etcd_client
from services.common.lifecycle.lifespan import Lifespan
from services.common.lifecycle.process import run_service
from services.common.rpc.channels import channel_opener
from services.common.rpc.server import GrpcServer
from services.common.settings import load_settings
from services.router.availability import Availability
from services.router.metrics import StateCollector
from services.router.pauses import Pauses
from services.router.placement import Placement
from services.router.pulse import pulse
from services.router.routing import Routing
from services.router.runners.drains import Drains
from services.router.runners.registrations import Registrations
from services.router.runners.status import RunnerStatusStreams
from services.router.runners.table import Table
from services.router.service import (
    LIFE_PERIOD,
    LIMITED_CALLERS,
    SERVICE_NAME,
    RouteHandler,
    RouterService,
    route_server,
)
from services.router.settings import RouterSettings
from tiermesh.router.v1.router_pb2_grpc import add_RouterServiceServicer_to_server


async def serve(stop: asyncio.Event) -> None:
    """Serves until `stop` is set, then drains."""
    settings = load_settings(RouterSettings, "router")
    async with Lifespan("router", settings, stop) as lifespan:
        streams = RunnerStatusStreams(channel_opener(settings.tls, "runner"), random.random)
        table = Table(streams, time.monotonic, settings.most_slots)
        streams.listen(table)
        await lifespan.start_admin(ready=lambda: table.synced)
        etcd = etcd_client(settings)
        lifespan.close_at_end(etcd.close)
        lifespan.close_at_end(streams.close_all)
        await _serve_routes(settings, lifespan, table, Registrations(etcd, table), Drains(etcd, table))


async def _serve_routes(
    settings: RouterSettings, lifespan: Lifespan, table: Table, registrations: Registrations, drains: Drains
) -> None:
    clock = time.monotonic
    pauses = Pauses(clock)
    routing = Routing(lifespan.catalog, table, Placement(table, clock, random.random), settings.limits, clock, pauses)
    availability = Availability(lifespan.catalog, table)
    handler = RouteHandler(routing, table)
    routes = route_server(handler, lifespan.tracing)
    REGISTRY.register(StateCollector(table.states, routing.tiers))
    service = RouterService(routes, availability, table, drains, routing.depths, clock)
    server = GrpcServer(settings.listen, settings.tls, lifespan.catalog, LIMITED_CALLERS)
    add_RouterServiceServicer_to_server(service, server.server)
    await server.start([SERVICE_NAME])
    lifespan.run_in_background("registrations", registrations.follow())
    lifespan.run_in_background("drains", drains.follow())
    lifespan.run_in_background(
        "unregistered_runners", registrations.forget_unregistered(settings.unregistered_grace_seconds)
    )
    lifespan.run_in_background("pulse", pulse(pauses.beat, routing.tick, availability.refresh))
    lifespan.run_in_background("signs_of_life", pulse(handler.show_life, period=LIFE_PERIOD))

    await lifespan.serve()
    await server.stop([availability, routes], lifespan.drain_seconds)


if __name__ == "__main__":
    run_service(serve)
