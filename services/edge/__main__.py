"""Starts the edge: `python -m services.edge`."""

from __future__ import annotations

import asyncio
import time

from services.common.admin import AdminServer
from services.common.catalog import load_catalog
from services.common.channels import channel_opener
from services.common.clock import system_clock
from services.common.logs import configure_logs
from services.common.process import run_service
from services.common.settings import load_settings, split_list
from services.edge.authentication import Authenticator, auth_client
from services.edge.balance import Balances, billing_replicas
from services.edge.chat.endpoint import Chat
from services.edge.http_server import HttpServer
from services.edge.keys import Keys, auth_replicas
from services.edge.paid import Mesh, PaidPath
from services.edge.payment import Cashier, billing_client
from services.edge.routing import Availability, Placer, router_client
from services.edge.runners import RunnerPool
from services.edge.service import EdgeService, Handlers
from services.edge.settings import EdgeSettings
from services.edge.usage import Usage


async def serve(stop: asyncio.Event) -> None:
    """Serves until `stop` is set, then finishes the requests in flight."""
    settings = load_settings(EdgeSettings, "edge")
    configure_logs("edge", format=settings.log_format, level=settings.log_level)
    open_channel = channel_opener(settings.tls)
    auth = auth_client(split_list(settings.auth_addresses), open_channel)
    billing = billing_client(split_list(settings.billing_addresses), open_channel)
    router = router_client(split_list(settings.router_addresses), open_channel)
    clients = (auth, billing, router)
    cashier = Cashier(
        billing,
        reserve_timeout=settings.call_timeout,
        settle_timeout=settings.settle_timeout,
        release_timeout=settings.release_timeout,
    )
    runners = RunnerPool(open_channel, time.monotonic)
    mesh = Mesh(load_catalog(settings.catalog_file), Placer(router), cashier, runners)
    path = PaidPath(mesh, settings, time.monotonic)
    availability = Availability(split_list(settings.router_addresses), open_channel)
    billing_unary = billing_replicas(split_list(settings.billing_addresses), open_channel, settings.call_timeout)
    auth_unary = auth_replicas(split_list(settings.auth_addresses), open_channel, settings.call_timeout)
    handlers = Handlers(
        authenticator=Authenticator(auth, settings.call_timeout),
        chat=Chat(path, settings, system_clock),
        mesh=mesh,
        availability=availability,
        balances=Balances(billing_unary),
        keys=Keys(auth_unary, system_clock),
        usage=Usage(billing_unary, system_clock),
    )
    service = EdgeService(handlers, max_body_bytes=settings.max_body_bytes, monotonic=time.monotonic)
    http = HttpServer(settings.listen, service.application(), drain_seconds=settings.drain_seconds)
    admin = AdminServer(
        settings.admin_listen,
        ready=lambda: availability.known and not stop.is_set() and all(client.connected for client in clients),
    )
    for client in clients:
        client.open()
    background = [asyncio.create_task(availability.run()), asyncio.create_task(runners.run())]
    await admin.start()
    await http.start()
    await stop.wait()
    await http.stop()
    await cashier.drain(settings.drain_seconds)
    for task in background:
        task.cancel()
    for closable in (runners, *clients, billing_unary, auth_unary):
        await closable.close()
    await admin.stop()


if __name__ == "__main__":
    run_service(serve)
