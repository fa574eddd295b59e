"""Puts x402 together from the settings of the edge."""

from __future__ import annotations

import time
from functools import partial

from services.common.http.attempt_limits import AttemptLimits, client_address
from services.common.lifecycle.lifespan import Lifespan
from services.common.rpc.channels import channel_opener
from services.common.rpc.discovery import Discovery, first_addresses
from services.common.rpc.replicas import Replicas
from services.common.settings import split_list
from services.edge.paid.hold import BillingClient
from services.edge.settings import EdgeSettings
from services.edge.x402.client import PaymentsClient
from services.edge.x402.discovery import Discovery as PaymentDiscovery
from services.edge.x402.wallets import Wallets
from tiermesh.payments.v1 import x402_pb2_grpc

_MINUTE = 60.0


def open_x402(settings: EdgeSettings, lifespan: Lifespan, billing: BillingClient) -> Wallets:
    """Returns what serves wallets; it asks payments for the terms from now on."""
    entries = split_list(settings.payments_addresses)
    open_channel = channel_opener(settings.tls, "payments")
    replicas: Replicas[x402_pb2_grpc.X402ServiceAsyncStub] = Replicas(
        "Payments", first_addresses(entries), open_channel, x402_pb2_grpc.X402ServiceStub, settings.call_timeout
    )
    client = PaymentsClient(replicas, settle_timeout=settings.settle_timeout, release_timeout=settings.release_timeout)
    lifespan.close_at_end(client.close)
    discovery = Discovery()
    discovery.follow(entries, replicas.set_addresses)
    lifespan.run_in_background("payments_discovery", discovery.run())
    lifespan.run_in_background("terms", client.follow_terms())
    limits = AttemptLimits(settings.unpaid_per_minute, _MINUTE, "use this API without paying", time.monotonic)
    address = partial(client_address, trusted_proxies=settings.trusted_proxies)
    return Wallets(client, billing, limits, address, PaymentDiscovery(lifespan.catalog))
