"""The wire between the edge and billing, which can lose replies: the case that idempotency exists for.

Killing a process seldom hits the millisecond between a commit and its reply. A wire that swallows what billing says
for a while, and then breaks, hits it every time: everything that was asked is done, and none of it is heard of.
"""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Self

from tests.support.ports import free_address

_CHUNK = 64 * 1024


class Wire:
    """Carries TCP connections from `address` to `target` (host:port); `async with` opens and closes it."""

    def __init__(self, target: str) -> None:
        self.address = free_address()
        self._host, _, self._port = target.rpartition(":")
        self._swallowing = 0
        self._carrying: set[asyncio.Task[None]] = set()

    async def swallow(self, seconds: float) -> None:
        """Loses every reply for so long, then breaks every connection."""
        self._swallowing += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            self._swallowing -= 1
            self._break()

    def _break(self) -> None:
        for task in self._carrying:
            task.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._carrying.add(task)
        try:
            await self._carry(reader, writer)
        except (OSError, asyncio.CancelledError):
            # A server task that ends by cancellation is reported as a failure; breaking is what it is for here.
            pass
        finally:
            self._carrying.discard(task)
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(self._host, int(self._port))
        ways = [
            asyncio.create_task(self._pump(reader, far_writer, replies=False)),
            asyncio.create_task(self._pump(far_reader, writer, replies=True)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            far_writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, replies: bool) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(_CHUNK):
                if not (replies and self._swallowing):
                    writer.write(chunk)
                    await writer.drain()

    async def __aenter__(self) -> Self:
        host, _, port = self.address.rpartition(":")
        self._server = await asyncio.start_server(self._accept, host, int(port))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        self._break()
