"""Collects items for a stream and hands them over in frames, at most one frame being written at a time."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

from services.common.batch.frames import MAX_FRAME_ITEMS

ItemT = TypeVar("ItemT")


class Outbox(Generic[ItemT]):
    """Items and cancels that wait for the next frame. Whoever fills it never waits; `full` says when to stop."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: list[ItemT] = []
        self._cancels: list[int] = []
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._items)

    @property
    def full(self) -> bool:
        """Whether the peer reads more slowly than items arrive."""
        return len(self._items) >= self._limit

    def put(self, item: ItemT) -> None:
        """Adds an item to the next frame."""
        self._items.append(item)
        self._wake.set()

    def put_cancel(self, call_id: int) -> None:
        """Adds a cancel to the next frame."""
        self._cancels.append(call_id)
        self._wake.set()

    def poke(self) -> None:
        """Makes the next `take` return even without items."""
        self._wake.set()

    def clear(self) -> None:
        """Forgets everything, because the stream it was for is gone."""
        self._items = []
        self._cancels = []

    async def take(self) -> tuple[list[ItemT], list[int]]:
        """Waits until something is there and returns one frame's worth of items, and all cancels."""
        await self._wake.wait()
        items, cancels = self._items, self._cancels
        if len(items) > MAX_FRAME_ITEMS:
            # Cancels never overtake the calls they are about.
            self._items = items[MAX_FRAME_ITEMS:]
            return items[:MAX_FRAME_ITEMS], []
        self._items, self._cancels = [], []
        self._wake.clear()
        return items, cancels
