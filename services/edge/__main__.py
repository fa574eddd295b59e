"""Starts the edge: `python -m services.edge`."""

from __future__ import annotations

import asyncio
import time
from functools import partial

from services.common.clock import system_clock
from services.common.lifecycle.lifespan import Lifespan
from services.common.lifecycle.process import run_service
from services.common.rpc.channels import channel_opener, with_most_bytes
from services.common.rpc.discovery import Discovery, first_addresses
from services.common.rpc.replicas import auth_replicas, billing_replicas
from services.common.settings import load_settings, split_list
from services.edge.authentication import Authenticator, auth_client
from services.edge.dependencies import Dependencies
from services.edge.endpoints import endpoint_routes
from services.edge.http.server import HttpServer
from services.edge.paid.hold import BillingClient, billing_client
from services.edge.paid.path import Mesh, PaidPath
from services.edge.paid.progress import ProgressWatch
from services.edge.paid.routing import AvailableModels, Placer, router_client
from services.edge.paid.runners import RunnerPool
from services.edge.receipts.configured import receipt_issuer
from services.edge.remote_images.configured import image_loader
from services.edge.service import EdgeService, WalletAccess
from services.edge.settings import EdgeSettings


async def serve(stop: asyncio.Event) -> None:
    """Serves until `stop` is set, then finishes the requests in flight."""
    settings = load_settings(EdgeSettings, "edge")
    async with Lifespan("edge", settings, stop, tracing_ratio=settings.tracing_ratio) as lifespan:
        await _serve_api(settings, lifespan)


async def _serve_api(settings: EdgeSettings, lifespan: Lifespan) -> None:
    open_channel = partial(channel_opener, settings.tls)
    entries = {
        "auth": split_list(settings.auth_addresses),
        "billing": split_list(settings.billing_addresses),
        "router": split_list(settings.router_addresses),
    }
    addresses = {name: first_addresses(listed) for name, listed in entries.items()}
    auth = auth_client(addresses["auth"], open_channel("auth"))
    billing_batch = billing_client(addresses["billing"], open_channel("billing"))
    router = router_client(addresses["router"], open_channel("router"), silence=settings.call_timeout)
    clients = (auth, billing_batch, router)
    billing = BillingClient(
        billing_batch,
        reserve_timeout=settings.call_timeout,
        settle_timeout=settings.settle_timeout,
        release_timeout=settings.release_timeout,
    )
    runners = RunnerPool(lambda size: open_channel("runner", with_most_bytes(size)), time.monotonic)
    available_models = AvailableModels(addresses["router"], open_channel("router"))
    progress = ProgressWatch(time.monotonic)
    mesh = Mesh(lifespan.catalog, available_models, Placer(router), billing, runners, progress)
    billing_unary = billing_replicas(addresses["billing"], open_channel("billing"), settings.call_timeout)
    auth_unary = auth_replicas(addresses["auth"], open_channel("auth"), settings.call_timeout)
    receipts = receipt_issuer(settings, system_clock)
    x402 = None
    if settings.payments_addresses:
        # Only where wallets pay is it imported.
        from services.edge.x402.configured import open_x402

        x402 = open_x402(settings, lifespan, billing)
    path = PaidPath(mesh, settings, time.monotonic, receipts, x402)
    dependencies = Dependencies(
        settings=settings,
        clock=system_clock,
        mesh=mesh,
        path=path,
        image_loader=image_loader(settings),
        billing=billing_unary,
        auth=auth_unary,
        ready=lifespan.is_ready,
        receipts=receipts,
    )
    routes = endpoint_routes(dependencies)
    if x402 is not None:
        routes.append(x402.discovery.route())
    service = EdgeService(
        routes,
        Authenticator(auth, settings.call_timeout),
        settings,
        monotonic=time.monotonic,
        tracing=lifespan.tracing,
        digests=receipts is not None,
        wallets=WalletAccess(x402.keyless, x402.address, x402.discovery.payment_info) if x402 is not None else None,
    )
    http = HttpServer(
        settings.listen,
        service.application(),
        head_seconds=settings.head_seconds,
        unread_seconds=settings.unread_seconds,
        cut_off=path.cut_off.now,
    )
    await lifespan.start_admin(ready=lambda: available_models.known and all(client.connected for client in clients))
    for client in clients:
        client.open()
    for connections in (auth_unary, billing_unary, *clients, runners):
        lifespan.close_at_end(connections.close)
    discovery = Discovery()
    discovery.follow(entries["auth"], auth.set_addresses, auth_unary.set_addresses)
    discovery.follow(entries["billing"], billing_batch.set_addresses, billing_unary.set_addresses)
    discovery.follow(entries["router"], router.set_addresses, available_models.set_addresses)
    lifespan.run_in_background("available_models", available_models.run())
    lifespan.run_in_background("idle_runners", runners.run())
    lifespan.run_in_background("progress", progress.run())
    lifespan.run_in_background("discovery", discovery.run())
    await http.start()
    lifespan.run_in_background("stalled_readers", http.cut_stalled_readers())

    await lifespan.serve()
    await http.stop(lifespan.drain_seconds)
    if x402 is not None:
        await x402.drain(lifespan.drain_seconds)
    await billing.drain(lifespan.drain_seconds)


if __name__ == "__main__":
    run_service(serve)
