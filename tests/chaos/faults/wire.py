"""A wire to one process, for all its callers, which can lose, hold back and delay what either side says.

Killing a process seldom hits the millisecond between a commit and its reply. A wire that swallows what billing says
for a while, and then breaks, hits it every time: everything that was asked is done, and none of it is heard of.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from types import TracebackType
from typing import Self

from tests.chaos.faults.fault import Kind
from tests.support.ports import free_address

_CHUNK = 64 * 1024
# By how much a slow wire delays each packet, at full pace, in seconds.
_DELAY = 0.15


class Wire:
    """Carries TCP connections from `address` to `target` (host:port); `async with` opens and closes it."""

    def __init__(self, target: str = "", slowness: float = 1.0) -> None:
        """`slowness` says by how much everything takes longer than at full pace; both can be set later."""
        self.address = free_address()
        self.target = target
        self.slowness = slowness
        # How many faults of each kind there are now.
        self._bad: Counter[Kind] = Counter()
        self._changed = asyncio.Condition()
        self._carrying: set[asyncio.Task[None]] = set()

    async def suffer(self, kind: Kind, seconds: float) -> None:
        """Is bad for so long; what was lost breaks every connection in the end, as no TCP goes on after a loss."""
        self._bad[kind] += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            self._bad[kind] -= 1
            if kind in {Kind.LOSE_CALLS, Kind.LOSE_REPLIES}:
                self._break()
            async with self._changed:
                self._changed.notify_all()

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
        host, _, port = self.target.rpartition(":")
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        ways = [
            asyncio.create_task(self._pump(reader, far_writer, Kind.LATE_CALLS, Kind.LOSE_CALLS)),
            asyncio.create_task(self._pump(far_reader, writer, Kind.LATE_REPLIES, Kind.LOSE_REPLIES)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            far_writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, late: Kind, lose: Kind) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(_CHUNK):
                if self._bad[Kind.DELAY]:
                    await asyncio.sleep(_DELAY * self.slowness)
                if self._bad[late]:
                    async with self._changed:
                        await self._changed.wait_for(lambda: not self._bad[late])
                if not self._bad[lose]:
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
