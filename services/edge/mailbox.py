"""Hands events from the callbacks of batch streams to the one task that serves a request."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

EventT = TypeVar("EventT")


class Mailbox(Generic[EventT]):
    """Many writers, one reader, no waiting for writers: the reader takes everything that has come in one go."""

    def __init__(self) -> None:
        self._events: list[EventT] = []
        self._waiter: asyncio.Future[None] | None = None

    def put(self, event: EventT) -> None:
        """Adds an event and wakes the reader."""
        self._events.append(event)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def empty(self) -> list[EventT]:
        """Returns the events that are there, perhaps none."""
        events, self._events = self._events, []
        return events

    async def take(self) -> list[EventT]:
        """Waits until there is at least one event and returns all of them in order."""
        if not self._events:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self.empty()
