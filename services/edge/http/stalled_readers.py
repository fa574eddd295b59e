"""Cuts clients off that do not read what was sent to them: nothing else would ever end such a connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from services.common.telemetry.logs import get_logger
from services.edge.http.protocol import Connection

log = get_logger()


class StalledReaders:
    """Looks at all connections every half `seconds` and aborts those that have taken nothing between three looks.

    What counts is what a client takes, not how much is left: a slow reader of a large file takes little, while what it
    leaves unread is filled up again and again.
    """

    def __init__(self, connections: Callable[[], Iterable[Connection]], seconds: float) -> None:
        self._connections = connections
        self._interval = seconds / 2
        # What had been taken at the last look, and in how many looks since then nothing more was.
        self._seen: dict[Connection, tuple[int, int]] = {}

    async def run(self) -> None:
        """Watches until it is cancelled."""
        while True:
            await asyncio.sleep(self._interval)
            self.look()

    def look(self) -> None:
        """Aborts the connections of clients that have not read anything since the last look but one."""
        seen, self._seen = self._seen, {}
        for connection in list(self._connections()):
            transport, unread, taken = connection.transport, connection.unread_bytes, connection.taken_bytes
            before, looks = seen.get(connection, (None, 0))
            if transport is None or not unread:
                continue
            looks = looks + 1 if taken == before else 0
            if looks >= 2:
                log.info("reader_stalled", unread_bytes=unread)
                transport.abort()
            else:
                self._seen[connection] = (taken, looks)
