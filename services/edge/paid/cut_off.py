"""Ends the requests that are still in progress when an edge has to stop: the client is told, and pays nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager

from services.common.errors import Code, MeshError


class CutOff:
    """Knows how to end each request in progress."""

    def __init__(self) -> None:
        # A dict, because it keeps their order.
        self._ends: dict[Callable[[MeshError], None], None] = {}

    def now(self) -> None:
        """Ends all of them, each with an error that its client sees."""
        for end in list(self._ends):
            end(_stopping())

    @contextmanager
    def by(self, end: Callable[[MeshError], None]) -> Generator[None]:
        """Has what runs inside ended by `end`."""
        self._ends[end] = None
        try:
            yield
        finally:
            del self._ends[end]

    @asynccontextmanager
    async def while_waiting(self) -> AsyncGenerator[None]:
        """Raises MeshError UNAVAILABLE inside, wherever it waits."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(None) as limit:
                with self.by(lambda _: limit.reschedule(loop.time())):
                    yield
        except TimeoutError:
            if limit.expired():
                raise _stopping() from None
            raise


def _stopping() -> MeshError:
    return MeshError(Code.UNAVAILABLE, "The service is being restarted; try again shortly.", retry_after=1.0)
