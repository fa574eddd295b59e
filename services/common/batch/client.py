"""The calling side of a batch stream: many callers, a lane to each replica, deadlines, cancellation and safe retry."""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, Generic

import grpc
from msgspec import Struct

from services.common.batch.deadlines import Deadlines
from services.common.batch.frames import CallT, NewRequestFrame, ReplyT
from services.common.batch.lane import Lane, LaneState, OpenStream
from services.common.batch.metrics import EXPIRED, RETRIED, watch_pending
from services.common.errors import Code, MeshError
from services.common.telemetry.logs import get_logger

log = get_logger()

# Receives each reply of a call; a MeshError is always the last thing it receives. One that raises loses its call, and
# no other: the call is withdrawn and the exception logged.
Sink = Callable[[Any], None]


class _Pending(Struct, Generic[CallT, ReplyT]):
    # None once it is on its way and will not be sent again: it may be large.
    call: CallT | None
    sink: Sink
    deadline: float
    tick: int
    # Since when a server could have been heard, on the loop's clock.
    since: float
    # None while no lane is up: the call is parked.
    lane: Lane[CallT, ReplyT] | None = None


class BatchClient(Generic[CallT, ReplyT]):
    """Carries calls to any of several replicas of one service.

    With `retry`, calls must be idempotent: those that a broken stream has left unanswered are sent again, on another
    lane or when one is back, until their deadline. Without it they fail with UNAVAILABLE at once, also when the
    first attempt to connect fails. `is_last` tells which reply ends a call; by default the first does. Calls of many
    replies cannot be retried: their first replies would come twice. `weigh` is for calls that may be large: with the
    bytes of each, frames are bounded by bytes too. `unpack` returns the replies of a response frame.

    `silence` is for calls that may wait long at a server that lives: it must be heard every so many seconds, by
    whatever frame, while it has calls of this client. If it is not, they move to another replica, or fail if there is
    none. A call without a server fails after as long.
    """

    def __init__(  # noqa: PLR0913 - each is a choice of its own, and only by name
        self,
        name: str,
        addresses: Sequence[str],
        *,
        open_channel: Callable[[str], grpc.aio.Channel],
        open_stream: OpenStream,
        new_frame: NewRequestFrame[CallT],
        retry: bool,
        is_last: Callable[[ReplyT], bool] | None = None,
        max_pending: int = 10_000,
        weigh: Callable[[CallT], int] | None = None,
        unpack: Callable[[Any], Sequence[ReplyT]] = attrgetter("replies"),
        silence: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` counts seconds and never goes back."""
        if not addresses:
            raise ValueError(f"{name}: at least one address is needed")
        if retry and is_last is not None:
            raise ValueError(f"{name}: calls of many replies cannot be retried")
        self.name = name
        self._retry = retry
        self._is_last = is_last
        self._max_pending = max_pending
        self._silence = math.inf if silence is None else silence
        self._ids = itertools.count(1)
        self._pending: dict[int, _Pending[CallT, ReplyT]] = {}
        self._retried = RETRIED.labels(name)
        self._expired = EXPIRED.labels(name)
        self._closed = False
        self._tasks: list[asyncio.Task[None]] = []
        self._new_lane: Callable[[str], Lane[CallT, ReplyT]] = partial(
            Lane,
            name,
            open_channel=open_channel,
            open_stream=open_stream,
            new_frame=new_frame,
            weigh=weigh,
            unpack=unpack,
            clock=clock,
        )
        self._lanes: list[Lane[CallT, ReplyT]] = [self._new_lane(address) for address in addresses]

    @property
    def connected(self) -> bool:
        """Whether at least one replica can be called."""
        return not self._closed and any(lane.state is LaneState.READY for lane in self._lanes)

    @property
    def pending(self) -> int:
        """Calls that wait for their last reply."""
        return len(self._pending)

    def open(self) -> None:
        """Starts connecting. Calls may be started at once; they wait for a lane."""
        self._loop = asyncio.get_running_loop()
        self._deadlines = Deadlines(self._loop, self._expire)
        watch_pending(self.name, self)
        for lane in self._lanes:
            self._open_lane(lane)

    def set_addresses(self, addresses: Sequence[str]) -> None:
        """Uses these replicas from now on, at least one; those that are not among them answer what they have.

        Only after `open`.
        """
        wanted = dict.fromkeys(addresses)
        for lane in self._lanes:
            if lane.address not in wanted:
                lane.retire()
        self._lanes = [lane for lane in self._lanes if lane.address in wanted]
        known = {lane.address for lane in self._lanes}
        new = [self._new_lane(address) for address in wanted if address not in known]
        self._lanes += new
        self._tasks = [task for task in self._tasks if not task.done()]
        for lane in new:
            self._open_lane(lane)

    def _open_lane(self, lane: Lane[CallT, ReplyT]) -> None:
        lane.on_up = partial(self._lane_up, lane)
        lane.on_replies = partial(self._deliver, lane)
        lane.on_down = partial(self._lane_down, lane)
        self._tasks.append(self._loop.create_task(lane.run(), name=f"lane {self.name} {lane.address}"))

    async def close(self) -> None:
        """Closes every lane; calls still pending fail with UNAVAILABLE, and so do those started later."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        for lane in self._lanes:
            lane.carried.clear()
        for pending in self._pending.values():
            pending.lane = None
        self._fail_parked("is shutting down")
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def start(self, call: CallT, sink: Sink, timeout: float) -> int:
        """Starts a call; `timeout` is in seconds, to the last reply. Returns the id to cancel it by.

        The sink is called from the event loop, never before `start` returns. Raises MeshError UNAVAILABLE when too
        many calls are pending already; every other failure goes to the sink.
        """
        if len(self._pending) >= self._max_pending:
            raise MeshError(Code.UNAVAILABLE, "too many requests are waiting; try again shortly", retry_after=1.0)
        call_id = call.id = next(self._ids)
        call.timeout_ms = max(1, int(timeout * 1000))
        now = self._loop.time()
        deadline = now + timeout
        tick = self._deadlines.add(call_id, min(deadline, now + self._silence))
        pending = self._pending[call_id] = _Pending(call, sink, deadline, tick, now)
        self._dispatch(call_id, pending)
        return call_id

    async def request(self, call: CallT, timeout: float) -> ReplyT:
        """Makes a call that has one reply and returns it. Raises MeshError if the call itself failed."""
        future: asyncio.Future[ReplyT] = self._loop.create_future()
        call_id = self.start(call, partial(_resolve, future), timeout)
        try:
            return await future
        except asyncio.CancelledError:
            self.cancel(call_id)
            raise

    def cancel(self, call_id: int) -> None:
        """Withdraws a call: its sink is not called again. Does nothing after the last reply."""
        pending = self._forget(call_id)
        if pending is not None and pending.lane is not None:
            pending.lane.outbox.cancel(call_id)

    def _dispatch(self, call_id: int, pending: _Pending[CallT, ReplyT]) -> None:
        lane = self._least_busy()
        if lane is None:
            draining = not self._retry and all(lane.state is LaneState.DRAINING for lane in self._lanes)
            if draining or self._closed:
                self._loop.call_soon(self._fail_parked, "is shutting down")
            return
        pending.lane = lane
        lane.carried.add(call_id)
        if pending.call is not None:
            lane.outbox.put(call_id, pending.call)
        if not self._retry:
            pending.call = None

    def _least_busy(self) -> Lane[CallT, ReplyT] | None:
        """Returns the lane for a call, or None if none is up."""
        lanes = self._lanes if len(self._lanes) == 1 and not self._closed else self._ready()
        if len(lanes) > 1:
            return min(lanes, key=lambda lane: len(lane.carried))
        return lanes[0] if lanes and lanes[0].state is LaneState.READY else None

    def _ready(self) -> list[Lane[CallT, ReplyT]]:
        """Returns the lanes for calls; those that have fallen silent only if there is no other."""
        ready = [lane for lane in self._lanes if lane.state is LaneState.READY] if not self._closed else []
        return [lane for lane in ready if not lane.silent] or ready

    def _deliver(self, lane: Lane[CallT, ReplyT], replies: Sequence[ReplyT]) -> None:
        lane.heard_at, lane.silent = self._loop.time(), False
        for reply in replies:
            call_id = reply.id
            pending = self._pending.get(call_id)
            # Unknown are replies that crossed with a cancel; another lane's call is not this lane's to answer.
            if pending is None or pending.lane is not lane:
                continue
            if self._is_last is None or self._is_last(reply):
                self._forget(call_id)
            # As `_tell`, without another call for every token.
            try:
                pending.sink(reply)
            except Exception:
                log.exception("batch_sink_failed", stream=self.name)
                self.cancel(call_id)

    def _tell(self, call_id: int, pending: _Pending[CallT, ReplyT], error: MeshError) -> None:
        try:
            pending.sink(error)
        except Exception:
            log.exception("batch_sink_failed", stream=self.name)
            self.cancel(call_id)

    def _forget(self, call_id: int) -> _Pending[CallT, ReplyT] | None:
        pending = self._pending.pop(call_id, None)
        if pending is not None:
            self._deadlines.remove(call_id, pending.tick)
            if pending.lane is not None:
                pending.lane.carried.discard(call_id)
        return pending

    def _expire(self, call_id: int) -> None:
        pending = self._pending.get(call_id)
        if pending is None:
            return
        now = self._loop.time()
        if now < pending.deadline and self._waits_on(call_id, pending, now):
            return
        self._expired.inc()
        self.cancel(call_id)
        if pending.lane is None:
            self._tell(call_id, pending, self._unavailable("cannot be reached"))
        elif now < pending.deadline:
            self._tell(call_id, pending, self._unavailable("does not answer"))
        else:
            error = MeshError(Code.DEADLINE_EXCEEDED, f"{self.name} did not answer in time; try again")
            self._tell(call_id, pending, error)

    def _waits_on(self, call_id: int, pending: _Pending[CallT, ReplyT], now: float) -> bool:
        """Lets a call wait on whose deadline has not come, if its server was heard of late or another one is there."""
        lane = pending.lane
        if max(pending.since, lane.heard_at if lane else 0.0) + self._silence <= now:
            if lane is None or not self._retry:
                return False
            lane.silent = True
            if all(other.silent for other in self._ready()):
                return False
            lane.outbox.cancel(call_id)
            lane.carried.discard(call_id)
            pending.lane = None
            self._retried.inc()
            self._dispatch_again(call_id, pending)
        heard = max(pending.since, pending.lane.heard_at if pending.lane else 0.0)
        pending.tick = self._deadlines.add(call_id, min(pending.deadline, heard + self._silence))
        return True

    def _lane_up(self, lane: Lane[CallT, ReplyT]) -> None:
        lane.heard_at, lane.silent = self._loop.time(), False
        for call_id, pending in self._pending.items():
            if pending.lane is None:
                self._dispatch_again(call_id, pending)

    def _lane_down(self, lane: Lane[CallT, ReplyT], reason: str) -> None:
        orphans = list(lane.carried)
        lane.carried.clear()
        for call_id in orphans:
            self._pending[call_id].lane = None
        if not self._retry:
            self._fail_parked(f"broke off ({reason})")
            return
        self._retried.inc(len(orphans))
        for call_id in orphans:
            self._dispatch_again(call_id, self._pending[call_id])

    def _dispatch_again(self, call_id: int, pending: _Pending[CallT, ReplyT]) -> None:
        pending.since = self._loop.time()
        if pending.call is not None:
            pending.call.timeout_ms = max(1, int((pending.deadline - pending.since) * 1000))
        self._dispatch(call_id, pending)

    def _fail_parked(self, what: str) -> None:
        for call_id in [call_id for call_id, pending in self._pending.items() if pending.lane is None]:
            pending = self._forget(call_id)
            # A sink before it may have cancelled it.
            if pending is not None:
                self._tell(call_id, pending, self._unavailable(what))

    def _unavailable(self, what: str) -> MeshError:
        return MeshError(Code.UNAVAILABLE, f"{self.name} {what}; try again shortly", retry_after=1.0)


def _resolve(future: asyncio.Future[Any], reply: Any) -> None:
    if future.done():
        return
    if isinstance(reply, MeshError):
        future.set_exception(reply)
    else:
        future.set_result(reply)
