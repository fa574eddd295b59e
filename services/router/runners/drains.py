"""Runners that an operator has drained, by a key in etcd that every router follows.

The key outlives the routers, and it outlives the runner: one that registers again under its ID stays drained. A runner
that starts again has a new ID, so the keys of runners that are gone are deleted when the next one is drained.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import aclosing, contextmanager

from services.common.errors import Code, MeshError
from services.common.etcd import (
    Delete,
    EtcdClient,
    EtcdError,
    EtcdUnavailableError,
    Put,
    Snapshot,
    WatchEvent,
    watch_prefix,
)
from services.common.telemetry.logs import get_logger
from services.router.runners.table import Table

log = get_logger()

_PREFIX = b"/tiermesh/drains/"


class Drains:
    """Drains runners, and tells the table what other routers have drained."""

    def __init__(self, client: EtcdClient, table: Table) -> None:
        self._client = client
        self._table = table

    async def follow(self) -> None:
        """Hands on every change, for ever. While etcd is away the table keeps what it has."""
        async with aclosing(watch_prefix(self._client, _PREFIX)) as events:
            async for event in events:
                self._apply(event)

    async def drain(self, runner_id: str) -> None:
        """Takes a runner out of use; raises MeshError NOT_FOUND, UNAVAILABLE, and PERMISSION_DENIED by etcd."""
        if runner_id not in self._table.ids:
            raise MeshError(Code.NOT_FOUND, "There is no such runner now. `tiermesh runners` lists all of them.")
        with _etcd_answers():
            for key in (await self._client.get_prefix(_PREFIX)).items:
                if _runner_id(key) not in self._table.ids:
                    await self._client.delete(key)
            await self._client.put(_key(runner_id), b"")
        log.info("runner_drained", runner=runner_id)
        self._table.set_drained(runner_id, drained=True)

    async def undrain(self, runner_id: str) -> None:
        """Uses a runner again; raises MeshError UNAVAILABLE, and PERMISSION_DENIED by etcd."""
        with _etcd_answers():
            await self._client.delete(_key(runner_id))
        log.info("runner_undrained", runner=runner_id)
        self._table.set_drained(runner_id, drained=False)

    def _apply(self, event: WatchEvent) -> None:
        if isinstance(event, Snapshot):
            self._table.replace_drained({_runner_id(key) for key in event.items})
        elif isinstance(event, Put | Delete):
            self._table.set_drained(_runner_id(event.key), drained=isinstance(event, Put))


@contextmanager
def _etcd_answers() -> Iterator[None]:
    try:
        yield
    except EtcdUnavailableError as error:
        raise MeshError(Code.UNAVAILABLE, "etcd cannot be reached. Try again shortly.") from error
    except EtcdError as error:
        message = (
            f"etcd refused the change ({error}). The router's user in etcd must be able to write /tiermesh/drains/."
        )
        raise MeshError(Code.PERMISSION_DENIED, message) from error


def _key(runner_id: str) -> bytes:
    return _PREFIX + runner_id.encode()


def _runner_id(key: bytes) -> str:
    return key.removeprefix(_PREFIX).decode(errors="replace")
