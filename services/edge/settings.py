"""What the edge can be told by TIERMESH_EDGE_*."""

from __future__ import annotations

from services.common.settings import ServiceSettings


class EdgeSettings(ServiceSettings, frozen=True, kw_only=True):
    """Settings of the edge; times are in seconds."""

    listen: str = "127.0.0.1:8000"
    # Each a comma-separated list of host:port, one for each replica.
    auth_addresses: str = "127.0.0.1:7101"
    billing_addresses: str = "127.0.0.1:7102"
    router_addresses: str = "127.0.0.1:7103"
    # The largest request body, in bytes.
    max_body_bytes: int = 10 * 1024 * 1024
    # The most choices (`n`) that one request may ask for; they share one price.
    max_choices: int = 8
    # How long auth and billing may take to answer before the client gets a 503.
    call_timeout: float = 5.0
    # How long a request may wait for a free slot.
    queue_timeout: float = 30.0
    # How long a whole answer may take.
    request_timeout: float = 600.0
    # How long a finished answer waits for its charge to be durable before the client gets an error instead.
    settle_timeout: float = 30.0
    # How long a release that nobody waits for is tried again.
    release_timeout: float = 300.0
    # How long a stream may be without its first token before comments keep its connection alive.
    keep_alive_seconds: float = 15.0
    # Bytes that may wait for a slow reader before the client is cut off.
    max_unread_bytes: int = 1024 * 1024
