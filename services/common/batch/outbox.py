"""What waits for the next frame of a stream: all that gathers while one frame is written travels in the next."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Generator
from itertools import islice
from types import coroutine
from typing import Generic, TypeVar

from services.common.batch.frames import MAX_FRAME_BYTES, MAX_FRAME_ITEMS

ItemT = TypeVar("ItemT")


@coroutine
def _gather() -> Generator[None, None, None]:
    """Lets what is just becoming due travel along: an idle loop takes these turns at once, a busy one fills them.

    Measured at 32 requests in flight: three turns instead of none put a third more items into a frame. To yield nothing
    is to give a turn away, as `asyncio.sleep(0)` does with two calls more.
    """
    for _ in range(3):
        yield


class ReplyOutbox(Generic[ItemT]):
    """Replies, in order. Nobody who fills it waits: what does not fit is refused.

    `weigh` returns the bytes of a reply, if replies may be large: then frames are bounded by bytes too.
    """

    def __init__(self, limit: int, weigh: Callable[[ItemT], int] | None = None) -> None:
        self._limit = limit
        self._weigh = weigh
        self._replies: list[ItemT] = []
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._replies)

    def put(self, reply: ItemT) -> bool:
        """Adds a reply to the next frame, unless it is full: then the client reads more slowly than replies arrive."""
        replies = self._replies
        if not replies:
            # While some wait, it is set.
            self._wake.set()
        elif len(replies) >= self._limit:
            return False
        replies.append(reply)
        return True

    def poke(self) -> None:
        """Makes the next `take` return even without replies."""
        self._wake.set()

    def clear(self) -> None:
        """Forgets everything, because the stream it was for is gone."""
        self._replies = []

    async def take(self) -> list[ItemT]:
        """Waits until something is there and returns one frame's worth of it."""
        await self._wake.wait()
        await _gather()
        replies = self._replies
        count = _frame_length(replies, self._weigh)
        if len(replies) > count:
            self._replies = replies[count:]
            return replies[:count]
        self._replies = []
        self._wake.clear()
        return replies


class CallOutbox(Generic[ItemT]):
    """Calls, in order, and cancels. It never holds more calls than are pending, so it needs no limit of its own.

    `weigh` returns the bytes of a call, if calls may be large: then frames are bounded by bytes too. `clock` counts
    seconds and never goes back.
    """

    def __init__(
        self, weigh: Callable[[ItemT], int] | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._weigh = weigh
        self._clock = clock
        # Since when the oldest call has waited.
        self._since = 0.0
        self._calls: dict[int, ItemT] = {}
        self._cancels: list[int] = []
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._calls)

    def put(self, call_id: int, call: ItemT) -> None:
        """Adds a call to the next frame."""
        if not self._calls:
            self._since = self._clock()
            # While some wait, it is set.
            self._wake.set()
        self._calls[call_id] = call

    def cancel(self, call_id: int) -> None:
        """Withdraws a call: one that still waits is never sent, for any other a cancel goes with the next frame."""
        if self._calls.pop(call_id, None) is None:
            self._cancels.append(call_id)
        self._wake.set()

    def poke(self) -> None:
        """Makes the next `take` return even without calls."""
        self._wake.set()

    def clear(self) -> None:
        """Forgets everything, because the stream it was for is gone."""
        self._calls = {}
        self._cancels = []

    async def take(self) -> tuple[list[ItemT], list[int], int]:
        """Waits until something is there and returns one frame's worth of calls, and all cancels.

        The third is when the oldest call was put here, in milliseconds of the clock.
        """
        await self._wake.wait()
        await _gather()
        calls, cancels, self._cancels = self._calls, self._cancels, []
        count, since_ms = _frame_length(calls.values(), self._weigh), int(self._since * 1000)
        if len(calls) > count:
            head = list(islice(calls, count))
            return [calls.pop(call_id) for call_id in head], cancels, since_ms
        self._calls = {}
        self._wake.clear()
        return list(calls.values()), cancels, since_ms


def _frame_length(items: Collection[ItemT], weigh: Callable[[ItemT], int] | None) -> int:
    """Returns how many of the items go into the next frame."""
    if weigh is None or len(items) < 2:
        return MAX_FRAME_ITEMS
    total = 0
    for count, item in enumerate(islice(items, MAX_FRAME_ITEMS), start=1):
        total += weigh(item)
        if total >= MAX_FRAME_BYTES:
            return count
    return MAX_FRAME_ITEMS
