"""An HTTP client that forgives nothing: it keeps its connection as long as the server lets it, and never repeats."""

from __future__ import annotations

import asyncio
import random
import select
from collections.abc import Sequence

from tests.support.deadlines import within
from tests.support.raw_http import RawConnection, RawResponse

_CONNECT_SECONDS = 10.0


class KeepAliveClient:
    """Sends one request after the other to servers of which a load balancer, for each new connection, picks one.

    `balanced` may change at any time. A new connection is made where HTTP demands it, because the last response said
    `Connection: close`, and where the server has closed an idle connection before anything was sent, which every HTTP
    client looks at before it uses one again. A refused connection has carried nothing, so the next server is asked.
    Whatever breaks after the first byte of a request was sent is raised.
    """

    def __init__(self, balanced: Sequence[str]) -> None:
        self._balanced = balanced
        self._connection: RawConnection | None = None
        # How often a connection was closed by an announcement, and how often while it was idle.
        self.announced = 0
        self.closed_idle = 0

    async def send(self, request: bytes) -> RawResponse:
        """Sends one request and returns the whole response; raises OSError or IncompleteReadError if it breaks."""
        if self._connection is not None and _is_readable(self._connection):
            self.closed_idle += 1
            self.close()
        if self._connection is None:
            self._connection = await self._connect()
        await self._connection.send(request)
        response = await self._connection.response()
        if response.headers.get("connection", "").lower() == "close":
            self.announced += 1
            self.close()
        return response

    def close(self) -> None:
        """Closes the connection, if there is one."""
        if self._connection is not None:
            self._connection.writer.close()
            self._connection = None

    async def _connect(self) -> RawConnection:
        async with within(_CONNECT_SECONDS):
            while True:
                host, _, port = random.choice(self._balanced).rpartition(":")
                try:
                    return RawConnection(*await asyncio.open_connection(host, int(port)))
                except ConnectionRefusedError:
                    await asyncio.sleep(0.05)


def _is_readable(connection: RawConnection) -> bool:
    """Whether the server has closed an idle connection, or sent what nobody has asked for; asks the socket itself."""
    if connection.reader.at_eof():
        return True
    poll = select.poll()
    poll.register(connection.writer.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(poll.poll(0))
