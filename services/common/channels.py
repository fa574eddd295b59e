"""Opens gRPC channels to other services: keep-alive, message sizes and mutual TLS are the same for all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import grpc

from services.common.settings import TlsSettings

# Dead peers are noticed after about 13 s even if nothing is sent; broken connections are noticed at once.
OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.http2.max_pings_without_data", 0),
    # Without this one, grpcio ignores the time-out above on streams that are otherwise silent.
    ("grpc.http2.ping_timeout_ms", 3_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # The edge bounds bodies; inside the mesh a frame may be as large as what it carries.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # Each channel owns its connection, so that a new channel really connects anew.
    ("grpc.use_local_subchannel_pool", 1),
    # The mesh talks to itself; a proxy meant for the internet has no place in between.
    ("grpc.enable_http_proxy", 0),
)

OpenChannel = Callable[[str], grpc.aio.Channel]


def client_credentials(tls: TlsSettings) -> grpc.ChannelCredentials | None:
    """Reads the certificate files as they are now; None without TLS."""
    if not tls.enabled:
        return None
    return grpc.ssl_channel_credentials(
        root_certificates=Path(tls.ca_file).read_bytes(),
        private_key=Path(tls.key_file).read_bytes(),
        certificate_chain=Path(tls.cert_file).read_bytes(),
    )


def channel_opener(tls: TlsSettings) -> OpenChannel:
    """Returns a function that opens a channel to `host:port` with the certificate files of that moment."""

    def open_channel(address: str) -> grpc.aio.Channel:
        credentials = client_credentials(tls)
        if credentials is None:
            return grpc.aio.insecure_channel(address, options=OPTIONS)
        return grpc.aio.secure_channel(address, credentials, options=OPTIONS)

    return open_channel
