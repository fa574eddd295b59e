"""`python -m services.router` runs the router."""

from __future__ import annotations

import asyncio
import random
import time

from prometheus_client import REGISTRY

from services.common.build_info import tell_build
from services.common.catalog_file import CatalogFile
from services.common.etcd import etcd_client
from services.common.process import run_service
from services.common.rpc.channels import channel_opener
from services.common.rpc.server import GrpcServer
from services.common.settings import load_settings
from services.common.telemetry.admin import AdminServer
from services.common.telemetry.logs import configure_logs
from services.common.telemetry.tracing import close_tracing, open_tracing
from services.router.availability import Availability
from services.router.metrics import StateCollector
from services.router.placement import Placement
from services.router.pulse import pulse
from services.router.routing import Routing
from services.router.runners.registrations import Registrations
from services.router.runners.status import RunnerStatusStreams
from services.router.runners.table import Table
from services.router.service import SERVICE_NAME, RouteHandler, RouterService, route_server
from services.router.settings import RouterSettings
from tiermesh.router.v1.router_pb2_grpc import add_RouterServiceServicer_to_server


async def serve(stop: asyncio.Event) -> None:
    """Serves until `stop` is set, then drains."""
    settings = load_settings(RouterSettings, "router")
    configure_logs("router", format=settings.log_format, level=settings.log_level)
    tell_build("router")
    catalog_file = CatalogFile(settings.catalog_file)
    streams = RunnerStatusStreams(channel_opener(settings.tls, "runner"), random.random)
    table = Table(streams, time.monotonic)
    streams.listen(table)
    admin = AdminServer(settings.admin_listen, ready=lambda: table.synced and not stop.is_set())
    etcd = etcd_client(settings)
    await admin.start()
    await _serve_routes(settings, catalog_file, table, Registrations(etcd, table), stop)
    await streams.close_all()
    await etcd.close()
    await admin.stop()


async def _serve_routes(
    settings: RouterSettings, catalog_file: CatalogFile, table: Table, registrations: Registrations, stop: asyncio.Event
) -> None:
    clock = time.monotonic
    catalog = catalog_file.catalog
    routing = Routing(catalog, table, Placement(table, clock, random.random), settings.limits, clock)
    availability = Availability(catalog, table)
    tracing = open_tracing(settings, "router")
    routes = route_server(RouteHandler(routing, table), tracing)
    REGISTRY.register(StateCollector(table.states, routing.tiers))
    server = GrpcServer(settings.listen, settings.tls, catalog)
    add_RouterServiceServicer_to_server(RouterService(routes, availability, table, clock), server.server)
    await server.start([SERVICE_NAME])
    # A background task that fails ends the process, so that it is replaced instead of lingering half alive.
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(registrations.follow()),
            group.create_task(registrations.forget_unregistered(settings.unregistered_grace_seconds)),
            group.create_task(catalog_file.follow()),
            group.create_task(pulse(routing.tick, availability.refresh)),
        ]
        await stop.wait()
        await server.stop([availability, routes], settings.drain_seconds)
        for task in tasks:
            task.cancel()
    await close_tracing(tracing)


if __name__ == "__main__":
    run_service(serve)
