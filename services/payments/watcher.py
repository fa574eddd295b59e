"""Reads final blocks range by range, and hands their deposits to billing, which keeps how far a watcher has read.

A watcher keeps nothing: it may be killed at any moment, and others of the same name may run beside it.
"""

from __future__ import annotations

import asyncio

from services.common.clock import Clock
from services.common.errors import Code, MeshError
from services.common.retry.outage import Outage
from services.common.retry.pause import pause
from services.common.telemetry.logs import get_logger
from services.payments.addresses import KnownAddresses
from services.payments.billing import Billing, Place
from services.payments.chain.json_rpc import RpcError
from services.payments.chain.node import Block, Node, Range
from services.payments.metrics import BLOCKS, CREDITS, FAILURES, LAG, READ, STOPPED

log = get_logger()

# As many deposits as one transaction of billing should take, and the most that it takes.
GOOD_DEPOSITS, MAX_DEPOSITS = 2_000, 20_000


class HistoryChangedError(Exception):
    """Blocks that were read are not part of the chain any more, or cannot be taken: a person has to look."""


class Watcher:
    """One of the watchers of a token. It reads blocks that are final and at least `delay` seconds old.

    `start_block` is where it begins if it has read nothing; 0 is the last final block.
    """

    def __init__(
        self,
        name: str,
        node: Node,
        billing: Billing,
        clock: Clock,
        *,
        most_blocks: int,
        start_block: int = 0,
        delay: float = 0.0,
    ) -> None:
        self.name = name
        # Whether billing knows the watcher, so that no final block that follows is left out.
        self.begun = False
        self.stopped = False
        self._node = node
        self._billing = billing
        self._addresses = KnownAddresses(billing)
        self._clock = clock
        self._most_blocks = most_blocks
        self._span = most_blocks
        self._start_block = start_block
        self._delay = delay
        self._outage = Outage()
        STOPPED.labels(name).set(0)
        # A watcher that never gets to the end is noticed like one that stops getting there.
        READ.labels(name).set(clock())
        for counter in (BLOCKS, CREDITS, FAILURES):
            counter.labels(name)

    async def follow(self, interval: float) -> None:
        """Reads until cancelled, and looks for final blocks every `interval` seconds. Changed history stops it."""
        while True:
            try:
                blocks = await self.step()
            except HistoryChangedError as error:
                self.stopped = True
                STOPPED.labels(self.name).set(1)
                log.error("history_changed", watcher=self.name, reason=str(error))  # noqa: TRY400 - the reason is all there is to know
                # For good: another start finds the same, until a person has decided.
                await asyncio.Event().wait()
            except (RpcError, MeshError) as error:
                self._fail(str(error) if isinstance(error, RpcError) else error.message)
                blocks = 0
            else:
                if self._outage.end():
                    log.info("reading_again", watcher=self.name)
            if not blocks:
                await pause(interval)

    async def step(self) -> int:
        """Reads the next range, and returns how many blocks it had.

        Raises RpcError, MeshError and HistoryChangedError, having changed nothing.
        """
        place = await self._billing.place(self.name)
        head = await self._node.finalized()
        if place is None:
            # The first block of all has none before it.
            first = last = self._start_block or max(1, head.number)
            if head.number < first:
                return 0
        else:
            self.begun = True
            first = place.next_block
            LAG.labels(self.name).set(max(0, head.number - first + 1))
            _check_head(head, place)
            last = await self._last(first, head)
        if last < first:
            READ.labels(self.name).set(self._clock())
            return 0
        return await self._read(first, last)

    async def _read(self, first: int, last: int) -> int:
        # After the head: whoever has an address that a final block pays was given it before.
        addresses = await self._addresses.refresh()
        try:
            told = await self._node.range(first, last, addresses)
        except RpcError:
            self._span = max(1, (last - first + 1) // 2)
            raise
        if len(told.transfers) > GOOD_DEPOSITS and last > first:
            self._span = max(1, (last - first + 1) // 2)
            return await self._read(first, first + self._span - 1)
        credited = 0
        while len(told.transfers) > MAX_DEPOSITS:
            # One block has so many. Until all are recorded, the cursor stays, and whoever reads it again adds nothing.
            part = Range(told.parent_hash, told.parent_hash, told.transfers[:MAX_DEPOSITS])
            credited += await self._record(first, first - 1, part)
            told = told._replace(transfers=told.transfers[MAX_DEPOSITS:])
        credited += await self._record(first, last, told)
        self._span = min(self._most_blocks, self._span * 2)
        self.begun = True
        BLOCKS.labels(self.name).inc(last - first + 1)
        CREDITS.labels(self.name).inc(credited)
        return last - first + 1

    async def _record(self, first: int, last: int, told: Range) -> int:
        try:
            return await self._billing.record(self.name, first, last, told)
        except MeshError as error:
            if error.code is Code.CONFLICT and error.param == "from_block":
                # Another one of this name was faster, or this one before its reply was lost.
                return 0
            if error.code in {Code.CONFLICT, Code.INVALID_REQUEST}:
                raise HistoryChangedError(error.message) from error
            raise

    async def _last(self, first: int, head: Block) -> int:
        """Returns the last block of the next range: before the first one if there is nothing to read yet."""
        last = min(head.number, first + self._span - 1)
        oldest = self._clock() - self._delay
        while self._delay and last >= first and (await self._node.block(last)).timestamp > oldest:
            last = first + (last - first) // 2 if last > first else first - 1
        return last

    def _fail(self, reason: str) -> None:
        FAILURES.labels(self.name).inc()
        if self._outage.begin(reason):
            log.warning("reading_failed", watcher=self.name, reason=reason)


def _check_head(head: Block, place: Place) -> None:
    """Compares the last block that was read with the head, if it is the head: nothing else would tell, until then."""
    if head.number == place.next_block - 1 and head.hash != place.last_hash:
        raise HistoryChangedError(f"block {head.number} was {place.last_hash} and is {head.hash}")
