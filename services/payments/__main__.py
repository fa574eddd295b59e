"""`python -m services.payments` runs the payments service."""

from __future__ import annotations

import asyncio
import time

from services.common.clock import system_clock
from services.common.lifecycle.lifespan import Lifespan
from services.common.lifecycle.process import run_service
from services.common.lifecycle.stopping import unless_stopped
from services.common.rpc.channels import channel_opener
from services.common.rpc.discovery import Discovery, first_addresses
from services.common.rpc.replicas import deposit_replicas
from services.common.rpc.server import GrpcServer
from services.common.settings import load_settings, split_list
from services.payments.addresses import Addresses
from services.payments.billing import Billing
from services.payments.chain.json_rpc import JsonRpc
from services.payments.chain.node import Node
from services.payments.derivation import DepositKey
from services.payments.pending import PendingDeposits
from services.payments.service import LIMITED_CALLERS, SERVICE_NAME, PaymentsService
from services.payments.settings import PaymentsSettings
from services.payments.token_check import check_nodes
from services.payments.watcher import Watcher
from tiermesh.payments.v1.payments_pb2_grpc import add_PaymentsServiceServicer_to_server


async def serve(stop: asyncio.Event) -> None:
    """Serves until `stop` is set."""
    settings = load_settings(PaymentsSettings, "payments")
    key = DepositKey(settings.xpub)
    async with Lifespan("payments", settings, stop) as lifespan:
        watchers: list[Watcher] = []
        await lifespan.start_admin(ready=lambda: all(watcher.begun for watcher in watchers))
        nodes = [_node(settings, lifespan, url) for url in (settings.rpc_url, settings.second_rpc_url) if url]
        if await unless_stopped(_check(settings, nodes), stop):
            billing = _billing(settings, lifespan)
            watchers += _watchers(settings, nodes, billing)
            pending = PendingDeposits(
                *(nodes[0], billing, time.monotonic),
                most_blocks=settings.most_blocks,
                reads_per_minute=settings.pending_reads_per_minute,
            )
            await _serve_addresses(settings, lifespan, Addresses(billing, key), pending, watchers)


async def _check(settings: PaymentsSettings, nodes: list[Node]) -> None:
    """Returns once nodes and token are those of the settings; raises SettingsError."""
    await check_nodes(nodes, settings.chain_id, settings.token_name)
    if settings.x402_pay_to:
        from services.payments.x402.configured import check_domain

        await check_domain(settings)


async def _serve_addresses(
    settings: PaymentsSettings,
    lifespan: Lifespan,
    addresses: Addresses,
    pending: PendingDeposits,
    watchers: list[Watcher],
) -> None:
    grpc_server = GrpcServer(settings.listen, settings.tls, lifespan.catalog, LIMITED_CALLERS)
    service = PaymentsService(addresses, pending, settings, lambda: all(watcher.begun for watcher in watchers))
    add_PaymentsServiceServicer_to_server(service, grpc_server.server)
    names = [SERVICE_NAME]
    if settings.x402_pay_to:
        from services.payments.x402.configured import add_x402

        names.append(add_x402(settings, lifespan, grpc_server))
    await grpc_server.start(names)
    first, second = watchers
    lifespan.run_in_background("first_watcher", first.follow(settings.poll_seconds))
    lifespan.run_in_background("second_watcher", second.follow(settings.second_poll_seconds))

    await lifespan.serve()
    await grpc_server.stop([], lifespan.drain_seconds)


def _watchers(settings: PaymentsSettings, nodes: list[Node], billing: Billing) -> list[Watcher]:
    """Returns the first watcher, and the one that reads everything once more, later and from the last of the nodes."""
    common = {"most_blocks": settings.most_blocks, "start_block": settings.start_block}
    return [
        Watcher("first", nodes[0], billing, system_clock, **common),
        Watcher("second", nodes[-1], billing, system_clock, delay=settings.second_delay_seconds, **common),
    ]


def _node(settings: PaymentsSettings, lifespan: Lifespan, url: str) -> Node:
    node = Node(JsonRpc(url, settings.rpc_timeout), settings.chain_id, settings.token)
    lifespan.close_at_end(node.close)
    return node


def _billing(settings: PaymentsSettings, lifespan: Lifespan) -> Billing:
    """Returns billing's replicas, which are closed at the end and follow their addresses."""
    entries = split_list(settings.billing_addresses)
    open_channel = channel_opener(settings.tls, "billing")
    replicas = deposit_replicas(first_addresses(entries), open_channel, settings.call_timeout)
    discovery = Discovery()
    discovery.follow(entries, replicas.set_addresses)
    lifespan.close_at_end(replicas.close)
    lifespan.run_in_background("discovery", discovery.run())
    return Billing(replicas, settings.chain_id, settings.token)


if __name__ == "__main__":
    run_service(serve)
