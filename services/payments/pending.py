"""What is on its way to an address: transfers that no watcher has read yet, for the person who waits for them.

They are read when somebody looks, from the first node, and kept nowhere. How often the node is asked is bounded,
however many people look.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from services.common.errors import Code, MeshError
from services.common.telemetry.logs import get_logger
from services.payments.billing import Billing
from services.payments.chain.json_rpc import RpcError
from services.payments.chain.node import Node, Transfer

log = get_logger()

# How long an answer serves everybody who asks about the address, in seconds.
KEEP_SECONDS = 2.0
# As many transfers as one answer has.
MOST_TRANSFERS = 50
# As many ranges of blocks as one read asks for: a watcher that is further behind has an alert of its own.
_MOST_RANGES = 8
_MOST_KEPT = 1_000
_MINUTE = 60.0
# Whose cursor says what is credited.
_WATCHER = "first"


class Pending(NamedTuple):
    """What is on its way, newest first."""

    transfers: Sequence[Transfer]
    # The last block that is final.
    final_block: int
    # How long that block is behind the newest one, in seconds.
    finality_seconds: int


class PendingDeposits:
    """Asks the node `reads_per_minute` times at most, for ranges of `most_blocks`; `monotonic` is in seconds."""

    def __init__(
        self,
        node: Node,
        billing: Billing,
        monotonic: Callable[[], float],
        *,
        most_blocks: int,
        reads_per_minute: int,
    ) -> None:
        self._node = node
        self._billing = billing
        self._monotonic = monotonic
        self._most_blocks = most_blocks
        self._reads_per_minute = reads_per_minute
        self._reads: deque[float] = deque()
        self._kept: OrderedDict[str, tuple[float, asyncio.Task[Pending]]] = OrderedDict()

    async def of(self, address: str) -> Pending:
        """Returns what is on its way to an address; raises MeshError UNAVAILABLE if it cannot be read now."""
        now = self._monotonic()
        kept = self._kept.get(address)
        if kept is None or kept[0] <= now - KEEP_SECONDS:
            self._count(now)
            kept = now, asyncio.create_task(self._read(address))
            # Whoever asked may have left before it failed.
            kept[1].add_done_callback(_look_at)
            self._kept[address] = kept
            self._kept.move_to_end(address)
            if len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        return await asyncio.shield(kept[1])

    def _count(self, now: float) -> None:
        while self._reads and self._reads[0] <= now - _MINUTE:
            self._reads.popleft()
        if len(self._reads) >= self._reads_per_minute:
            wait = self._reads[0] + _MINUTE - now if self._reads else _MINUTE
            raise MeshError(Code.UNAVAILABLE, "The node was asked too often. Try again shortly.", retry_after=wait)
        self._reads.append(now)

    async def _read(self, address: str) -> Pending:
        # Before the node is asked: what a watcher reads meanwhile is told twice and not left out.
        place = await self._billing.place(_WATCHER)
        try:
            final, newest = await self._node.ends()
            first = place.next_block if place is not None else final.number + 1
            ranges = self._ranges(first, newest.number)
            found = await self._node.received(address, ranges) if ranges else ()
        except RpcError as error:
            log.warning("pending_not_read", reason=str(error))
            message = "The chain cannot be read at the moment. Try again shortly."
            raise MeshError(Code.UNAVAILABLE, message, retry_after=KEEP_SECONDS) from error
        return Pending(found[:MOST_TRANSFERS], final.number, max(0, newest.timestamp - final.timestamp))

    def _ranges(self, first: int, last: int) -> list[tuple[int, int]]:
        """Returns the newest ranges that a node takes."""
        first = max(first, last - self._most_blocks * _MOST_RANGES + 1)
        return [(at, min(at + self._most_blocks - 1, last)) for at in range(first, last + 1, self._most_blocks)]


def _look_at(task: asyncio.Task[Pending]) -> None:
    if not task.cancelled():
        task.exception()
