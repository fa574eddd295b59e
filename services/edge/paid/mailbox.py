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
        if self._waiter is not None:
            _wake(self._waiter)

    def empty(self) -> list[EventT]:
        """Returns the events that are there, perhaps none."""
        events, self._events = self._events, []
        return events

    async def take(self, within: float | None = None) -> list[EventT]:
        """Waits for an event, at most `within` seconds, and returns all that are there in order."""
        if not self._events:
            loop = asyncio.get_running_loop()
            waiter = self._waiter = loop.create_future()
            # A timer of its own costs less than asyncio.timeout, and this runs for every request.
            timer = None if within is None else loop.call_later(within, _wake, waiter)
            try:
                await waiter
            finally:
                self._waiter = None
                if timer is not None:
                    timer.cancel()
        return self.empty()


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
