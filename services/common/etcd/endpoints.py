"""The members of an etcd cluster, one gRPC channel each, of which one is in use."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import grpc

from services.common.retry.backoff import Randomness
from services.common.rpc.channels import CONNECTION_OPTIONS, channel_opener
from services.common.settings import TlsSettings

_OPTIONS = (*CONNECTION_OPTIONS, ("grpc.max_receive_message_length", 64 << 20))


class Endpoints:
    """The channels, and the choice among them."""

    def __init__(self, endpoints: Sequence[str], tls: TlsSettings, random: Randomness) -> None:
        if not endpoints:
            raise ValueError("etcd needs at least one endpoint, such as 127.0.0.1:2379")
        targets = [_target(endpoint, secure=tls.enabled) for endpoint in endpoints]
        open_channel = channel_opener(tls, options=_OPTIONS)
        self._channels = [open_channel(target) for target in targets]
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
        raise ValueError(f"{endpoint!r} contradicts the certificate files: https needs them and http takes none")
    return rest.rstrip("/")
