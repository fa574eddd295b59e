"""A watch of a prefix that heals itself: whatever happens to etcd, who follows it ends up with etcd's state.

A broken watch resumes at the next revision only if etcd, asked for the prefix as it was at the last revision seen,
gives what the watch had told by then. A compaction, a wiped data directory and a replaced cluster all fail that one
question, even when the new revisions have overtaken the old ones; then the prefix is listed again. The question also
renews an expired token, which etcd would not report on the stream itself.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

import grpc

from services.common.etcd.client import EtcdClient, Listing
from services.common.etcd.errors import EtcdError, RevisionUnavailableError
from services.common.retry.outage import Outage
from services.common.telemetry.logs import get_logger
from tiermesh.etcd.v1 import etcd_pb2

log = get_logger()


@dataclass(frozen=True)
class Snapshot:
    """All keys under the prefix; replaces everything told before."""

    items: dict[bytes, bytes]


@dataclass(frozen=True)
class Put:
    """A key was written."""

    key: bytes
    value: bytes


@dataclass(frozen=True)
class Delete:
    """A key was deleted, or its lease ended."""

    key: bytes


WatchEvent = Snapshot | Put | Delete


class WatchCanceledError(EtcdError):
    """etcd canceled a watch or cannot continue it where it was: the prefix must be listed again."""


async def watch_prefix(client: EtcdClient, prefix: bytes) -> AsyncGenerator[WatchEvent, None]:
    """Yields a Snapshot first and then each change, in order and once; never ends.

    Another Snapshot follows when changes may have been missed. Close it (`contextlib.aclosing`) or cancel its task to
    free the stream.
    """
    position: _Position | None = None
    backoff, outage = client.backoff(), Outage()
    name = prefix.decode(errors="replace")
    while True:
        try:
            if position is None:
                position = _Position(prefix, await client.get_prefix(prefix, attempts=1))
                yield Snapshot(dict(position.items))
            # Even a new position may be old: the follower takes its time over a snapshot.
            await position.confirm(client)
            async with aclosing(client.watch_stream(prefix, position.revision + 1)) as responses:
                async for response in responses:
                    position.check(response)
                    backoff.reset()
                    if outage.end():
                        log.info("etcd_watch_recovered", prefix=name)
                    for event in response.events:
                        yield position.apply(event)
                    position.advance(response)
        except EtcdError as error:
            if outage.begin():
                log.warning("etcd_watch_lost", prefix=name, reason=str(error))
            if isinstance(error, WatchCanceledError):
                position = None
        await backoff.pause()


class _Position:
    """What the follower of a watch has been told: the state of the prefix at a revision."""

    def __init__(self, prefix: bytes, listing: Listing) -> None:
        self._prefix = prefix
        self._cluster_id = listing.cluster_id
        self.items = listing.items
        self.revision = listing.revision

    async def confirm(self, client: EtcdClient) -> None:
        """Raises WatchCanceledError unless the changes after `revision` lead from `items` to etcd's present state."""
        try:
            past = await client.get_prefix(self._prefix, revision=self.revision, attempts=1)
        except RevisionUnavailableError as error:
            raise WatchCanceledError(error.code, "the changes since the last one seen are not kept") from error
        if past.cluster_id != self._cluster_id or past.items != self.items:
            raise WatchCanceledError(grpc.StatusCode.ABORTED, "etcd's history is not the one that was followed")

    def check(self, response: etcd_pb2.WatchResponse) -> None:
        """Raises WatchCanceledError unless the answer continues this position."""
        header = response.header
        if response.canceled:
            reason = response.cancel_reason or f"compacted at revision {response.compact_revision}"
            raise WatchCanceledError(grpc.StatusCode.ABORTED, reason)
        # etcd may have been wiped or replaced between the question that `confirm` asks and the stream's opening.
        if header.cluster_id != self._cluster_id or (response.created and header.revision < self.revision):
            raise WatchCanceledError(grpc.StatusCode.ABORTED, "this is not the etcd that was listed")

    def apply(self, event: etcd_pb2.Event) -> Put | Delete:
        """Makes a change part of the position and returns it for the follower."""
        key, value = event.kv.key, event.kv.value
        if event.type == etcd_pb2.Event.DELETE:
            self.items.pop(key, None)
            return Delete(key)
        self.items[key] = value
        return Put(key, value)

    def advance(self, response: etcd_pb2.WatchResponse) -> None:
        """Moves past the answer, once all of its events have been told.

        An answer without events, unless it only confirms the creation, is etcd's regular word that nothing is pending
        up to its revision; it keeps the position of a quiet prefix from falling behind compactions.
        """
        if response.events:
            self.revision = response.events[-1].kv.mod_revision
        elif not response.created:
            self.revision = max(self.revision, response.header.revision)
