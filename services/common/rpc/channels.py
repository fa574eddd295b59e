"""Opens gRPC channels to other services: keep-alive, message sizes and mutual TLS are the same for all."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import grpc

from services.common.rpc.certificate_files import CertificateFiles
from services.common.rpc.rotating_channel import RotatingChannel
from services.common.settings import TlsSettings

# How every connection of the mesh behaves, those to etcd included.
CONNECTION_OPTIONS: tuple[tuple[str, int], ...] = (
    # A peer that has fallen silent is noticed within 13 s; etcd allows one ping in 5 s. The ping's own timeout, by
    # default a minute, is shortened too: in gRPC 1.85 the keep-alive's alone does not end the connection.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.http2.ping_timeout_ms", 3_000),
    # An idle stream sends nothing for hours; by default its pings would slow down to one a minute.
    ("grpc.http2.max_pings_without_data", 0),
    # Without a second as the limit, a channel would go on failing fast for minutes after its peer is back.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # A pod that is replaced has another address. By default a name is looked up at most once in 30 s, and the channel
    # would go on trying the old address for so long.
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),
    # Each channel owns its connection: a new one really connects anew, and a broken one breaks only its own client.
    ("grpc.use_local_subchannel_pool", 1),
    # By default each end measures a connection by pings, several a second while it carries anything, to find how much
    # may be under way. The mesh is one data centre: a megabyte is, and more for a message that is larger.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 1 << 20),
    # The mesh talks to itself; a proxy meant for the internet has no place in between.
    ("grpc.enable_http_proxy", 0),
)

# The largest message that a channel takes, and a server, in bytes: no peer may fill this process's memory. Frames hold
# at most 256 small items. Only calls for runners are larger: images and recordings, which the edge bounds.
MOST_REPLY_BYTES = 32 << 20
MOST_REQUEST_BYTES = 256 << 20

OPTIONS: tuple[tuple[str, int], ...] = (
    *CONNECTION_OPTIONS,
    ("grpc.max_receive_message_length", MOST_REPLY_BYTES),
    # Whoever sends knows what it sends.
    ("grpc.max_send_message_length", -1),
)

OpenChannel = Callable[[str], grpc.aio.Channel]


def with_most_bytes(size: int) -> tuple[tuple[str, int], ...]:
    """Returns the options of a channel that takes messages of this size, in bytes."""
    return (*OPTIONS, ("grpc.max_receive_message_length", size))


def channel_opener(tls: TlsSettings, role: str = "", options: Sequence[tuple[str, int]] = OPTIONS) -> OpenChannel:
    """Returns a function that opens a channel to `host:port`.

    With TLS, the server must have the certificate of `role` at whatever address it is; without a role, one for that
    address. Replaced files are used by the next call, also on a channel that is open. Opening raises OSError if a file
    cannot be read.
    """

    def open_channel(address: str) -> grpc.aio.Channel:
        if not tls.enabled:
            return grpc.aio.insecure_channel(address, options=options)
        files = CertificateFiles(tls, "client")
        return RotatingChannel(files, lambda: _secure_channel(address, files, checked))

    checked: list[tuple[str, int | str]] = [*options]
    if role:
        checked.append(("grpc.ssl_target_name_override", tls.name(role)))
    return open_channel


def _secure_channel(
    address: str, files: CertificateFiles, options: Sequence[tuple[str, int | str]]
) -> grpc.aio.Channel:
    found = files.read()
    credentials = grpc.ssl_channel_credentials(
        root_certificates=found.ca, private_key=found.key, certificate_chain=found.chain
    )
    return grpc.aio.secure_channel(address, credentials, options=options)
