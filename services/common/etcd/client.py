"""etcd's operations, typed: keys, leases and the raw watch stream."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from services.common.etcd import methods
from services.common.etcd.connection import ATTEMPTS, Connection
from services.common.etcd.errors import AlreadyThereError
from services.common.retry.backoff import Backoff, Randomness
from services.common.settings import TlsSettings
from tiermesh.etcd.v1 import etcd_pb2

_NO_TLS = TlsSettings()
# The user and the role to whom etcd forbids nothing.
ROOT = "root"


@dataclass(frozen=True)
class Listing:
    """The keys under a prefix with their values, as they were at `revision` of the cluster `cluster_id`."""

    items: dict[bytes, bytes]
    revision: int
    cluster_id: int


@dataclass(frozen=True)
class Lease:
    """A granted lease; `ttl` is in seconds and may be longer than was asked for."""

    id: int
    ttl: int


@dataclass(frozen=True)
class Status:
    """How the endpoint in use is."""

    version: str
    database_bytes: int
    has_leader: bool


class EtcdClient:
    """A client of one etcd cluster. Make it where its event loop runs.

    `endpoints` are host:port, with or without http:// or https://. `timeout` is in seconds and for each attempt; a call
    makes up to eight, on another endpoint each time, unless it says otherwise. Every method raises EtcdError. Making
    the client raises OSError if a certificate file cannot be read.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        tls: TlsSettings = _NO_TLS,
        username: str = "",
        password: str = "",
        timeout: float = 2.0,
        random: Randomness = random.random,
    ) -> None:
        self._connection = Connection(
            endpoints,
            tls=tls,
            username=username,
            password=password,
            timeout=timeout,
            random=random,
        )

    async def put(self, key: bytes, value: bytes, *, lease: int = 0) -> int:
        """Writes a key and returns the revision; under a lease, the key goes when the lease does."""
        request = etcd_pb2.PutRequest(key=key, value=value, lease=lease)
        return (await self._connection.call(methods.PUT, request)).header.revision

    async def get_prefix(self, prefix: bytes, *, revision: int = 0, attempts: int = ATTEMPTS) -> Listing:
        """Lists the keys under `prefix` now, or as they were at `revision`.

        Raises RevisionUnavailableError for a revision that was compacted away or that etcd has not reached.
        """
        start, end = prefix_range(prefix)
        request = etcd_pb2.RangeRequest(key=start, range_end=end, revision=revision)
        response = await self._connection.call(methods.RANGE, request, attempts=attempts)
        items = {pair.key: pair.value for pair in response.kvs}
        return Listing(items, response.header.revision, response.header.cluster_id)

    async def delete(self, key: bytes) -> int:
        """Deletes a key and returns how many there were, 0 or 1."""
        response = await self._connection.call(methods.DELETE_RANGE, etcd_pb2.DeleteRangeRequest(key=key))
        return response.deleted

    async def status(self) -> Status:
        """Asks the endpoint in use how it is."""
        response = await self._connection.call(methods.STATUS, etcd_pb2.StatusRequest())
        return Status(response.version, response.dbSize, bool(response.leader))

    async def grant_lease(self, ttl: int) -> Lease:
        """Takes a lease of at least `ttl` seconds, by one attempt."""
        request = etcd_pb2.LeaseGrantRequest(TTL=ttl)
        response = await self._connection.call(methods.LEASE_GRANT, request, attempts=1)
        return Lease(response.ID, response.TTL)

    async def keep_alive(self, lease: int, *, timeout: float | None = None) -> int:
        """Renews a lease by one attempt and returns its seconds to live, 0 if it no longer exists."""
        request = etcd_pb2.LeaseKeepAliveRequest(ID=lease)
        response = await self._connection.call(methods.LEASE_KEEP_ALIVE, request, attempts=1, timeout=timeout)
        return max(response.TTL, 0)

    async def revoke_lease(self, lease: int) -> None:
        """Ends a lease and deletes its keys; raises LeaseNotFoundError if it no longer exists."""
        await self._connection.call(methods.LEASE_REVOKE, etcd_pb2.LeaseRevokeRequest(ID=lease))

    async def require_password(self, password: str) -> None:
        """Makes the user root with this password, and has etcd refuse everybody else from now on.

        The client must be that user's already: what comes after the first step of it needs the password. To do it again
        changes nothing.
        """
        steps: tuple[tuple[methods.Method[Any, Any], Message], ...] = (
            (methods.ROLE_ADD, etcd_pb2.AuthRoleAddRequest(name=ROOT)),
            (methods.USER_ADD, etcd_pb2.AuthUserAddRequest(name=ROOT, password=password)),
            (methods.USER_GRANT_ROLE, etcd_pb2.AuthUserGrantRoleRequest(user=ROOT, role=ROOT)),
            (methods.AUTH_ENABLE, etcd_pb2.AuthEnableRequest()),
        )
        for method, request in steps:
            with contextlib.suppress(AlreadyThereError):
                await self._connection.call(method, request)

    def watch_stream(self, prefix: bytes, start_revision: int) -> AsyncGenerator[etcd_pb2.WatchResponse, None]:
        """Opens a watch that ends, by EtcdError, when its connection does; `watch_prefix` is the one that goes on."""
        start, end = prefix_range(prefix)
        create = etcd_pb2.WatchCreateRequest(
            key=start, range_end=end, start_revision=start_revision, progress_notify=True
        )
        return self._connection.stream(methods.WATCH, etcd_pb2.WatchRequest(create_request=create))

    def backoff(self) -> Backoff:
        """Returns a new back-off with this client's randomness."""
        return self._connection.backoff()

    async def close(self) -> None:
        """Closes the connections; cancel watches and registrations first."""
        await self._connection.close()


def prefix_range(prefix: bytes) -> tuple[bytes, bytes]:
    """Returns etcd's half-open range of the keys that begin with `prefix`; a zero byte as its end means no end."""
    head = prefix.rstrip(b"\xff")
    end = head[:-1] + bytes([head[-1] + 1]) if head else b"\0"
    return prefix or b"\0", end
