"""The members of an etcd cluster, one gRPC channel each, of which one is in use."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import grpc

from services.common.etcd.backoff import Randomness

_OPTIONS = [
    # A peer that has fallen silent is noticed within 13 s. etcd allows one ping in 5 s. The ping's own timeout, by
    # default a minute, is shortened too: in gRPC 1.85 the keep-alive's alone does not end the connection.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.http2.ping_timeout_ms", 3_000),
    # An idle watch sends nothing for hours; by default its pings would slow down to one a minute.
    ("grpc.http2.max_pings_without_data", 0),
    # Without a second as the limit, a channel would go on failing fast for minutes after etcd is back.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # Clients of one process share no connection, so that a broken one breaks only its own client.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", 64 << 20),
    # The mesh talks to itself; a proxy meant for the internet has no place in between.
    ("grpc.enable_http_proxy", 0),
]


class Endpoints:
    """The channels, and the choice among them."""

    def __init__(
        self, endpoints: Sequence[str], credentials: grpc.ChannelCredentials | None, random: Randomness
    ) -> None:
        if not endpoints:
            raise ValueError("etcd needs at least one endpoint, such as 127.0.0.1:2379")
        targets = [_target(endpoint, secure=credentials is not None) for endpoint in endpoints]
        self._channels = [_open(target, credentials) for target in targets]
        # Clients start at different members, so that no member serves them all.
        self._current = int(random() * len(self._channels))

    @property
    def current(self) -> grpc.aio.Channel:
        """The channel to use now."""
        return self._channels[self._current]

    def fail_over(self, failed: grpc.aio.Channel) -> None:
        """Moves to the next member, unless another call that failed has already moved away from `failed`."""
        if failed is self.current:
            self._current = (self._current + 1) % len(self._channels)

    async def close(self) -> None:
        """Closes every channel."""
        await asyncio.gather(*(channel.close() for channel in self._channels))


def _target(endpoint: str, *, secure: bool) -> str:
    scheme, separator, rest = endpoint.rpartition("://")
    if scheme not in {"", "http", "https"} or (separator and not scheme) or not rest:
        raise ValueError(f"an etcd endpoint is host:port, http://host:port or https://host:port, not {endpoint!r}")
    if scheme and (scheme == "https") != secure:
        raise ValueError(f"{endpoint!r} contradicts the credentials: https needs them and http takes none")
    return rest.rstrip("/")


def _open(target: str, credentials: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
    if credentials is None:
        return grpc.aio.insecure_channel(target, options=_OPTIONS)
    return grpc.aio.secure_channel(target, credentials, options=_OPTIONS)
