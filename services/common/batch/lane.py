"""One lane of a batch client: one stream to one replica, opened again whenever it breaks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from enum import Enum
from operator import attrgetter
from typing import Any, Generic

import grpc

from services.common.batch.frames import CallT, NewRequestFrame, ReplyT
from services.common.batch.metrics import CONNECTS, FrameCounter
from services.common.batch.outbox import CallOutbox
from services.common.retry.backoff import Backoff
from services.common.retry.outage import Outage
from services.common.telemetry.logs import get_logger

log = get_logger()

# Opens the stream on a channel: `lambda channel: SomeServiceStub(channel).Method()`.
OpenStream = Callable[[grpc.aio.Channel], Any]

# Seconds.
CONNECT_TIMEOUT = 2.0
FIRST_BACKOFF = 0.05
LONGEST_BACKOFF = 0.5

# What writing raises once the stream has ended.
_ENDED = (grpc.aio.AioRpcError, grpc.aio.BaseError, asyncio.InvalidStateError)


class LaneState(Enum):
    """What a lane can be used for."""

    CONNECTING = "connecting"
    READY = "ready"
    DRAINING = "draining"


class Lane(Generic[CallT, ReplyT]):
    """Keeps one stream open. The client owns the calls; the lane only carries them.

    `on_up` is called when the server has answered, `on_replies` with those of each frame, and `on_down` with a reason
    when the stream has broken or could not be opened.
    """

    def __init__(
        self,
        name: str,
        address: str,
        *,
        open_channel: Callable[[str], grpc.aio.Channel],
        open_stream: OpenStream,
        new_frame: NewRequestFrame[CallT],
        weigh: Callable[[CallT], int] | None = None,
        unpack: Callable[[Any], Sequence[ReplyT]] = attrgetter("replies"),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` counts seconds and never goes back."""
        self.name = name
        self.address = address
        self.state = LaneState.CONNECTING
        self.outbox: CallOutbox[CallT] = CallOutbox(weigh, clock=clock)
        # Ids of the calls that this lane carries.
        self.carried: set[int] = set()
        # When the last frame came, on the loop's clock, and whether the client has given up waiting for the next.
        self.heard_at = 0.0
        self.silent = False
        self.on_up: Callable[[], None] = lambda: None
        self.on_replies: Callable[[Sequence[ReplyT]], None] = lambda _: None
        self.on_down: Callable[[str], None] = lambda _: None
        self._open_channel = open_channel
        self._open_stream = open_stream
        self._new_frame = new_frame
        self._unpack = unpack
        self._outage = Outage()
        # Whether nobody wants this lane any more.
        self._retired = False
        self._sent = FrameCounter(name, "sent")
        self._received = FrameCounter(name, "received")

    async def run(self) -> None:
        """Opens the stream again and again until cancelled or retired."""
        backoff = Backoff(FIRST_BACKOFF, LONGEST_BACKOFF)
        while not self._retired:
            try:
                was_up = await self._run_once()
            except Exception as error:
                # Whatever it is, the next attempt may do better; a lane that ended would never be missed.
                log.exception("batch_stream_failed", stream=self.name, address=self.address)
                was_up = self._down(type(error).__name__)
            if was_up:
                backoff.reset()
            await backoff.pause()

    def retire(self) -> None:
        """Takes no new calls and ends once those that it carries have been answered."""
        self._retired = True
        if self.state is LaneState.READY:
            self.state = LaneState.DRAINING
            self.outbox.poke()

    async def _run_once(self) -> bool:
        try:
            # A fresh channel each time: no back-off of gRPC's own in the way, and rotated certificates are used.
            async with self._open_channel(self.address) as channel:
                reason = await self._serve(self._open_stream(channel))
                # Before the channel is closed, which takes a while: the calls may have another way.
                return self._down(reason)
        except OSError as error:
            return self._down(f"a certificate file cannot be read: {error.strerror}")

    async def _serve(self, stream: Any) -> str:
        """Carries calls until the stream ends, and returns why it did."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                hello = await stream.read()
            if hello is not grpc.aio.EOF and not hello.draining and not self._retired:
                await self._carry(stream)
        except grpc.aio.AioRpcError as error:
            return error.code().name
        except TimeoutError:
            return "no answer to connecting"
        except asyncio.CancelledError:
            # gRPC raises it as well when the writing side has cancelled the stream.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return "writing failed"
        finally:
            stream.cancel()
        return "the server closed the stream"

    async def _carry(self, stream: Any) -> None:
        self.state = LaneState.READY
        self._outage.end()
        CONNECTS.labels(self.name).inc()
        writer = asyncio.create_task(self._write_frames(stream))
        try:
            self.on_up()
            await self._read_frames(stream)
        finally:
            writer.cancel()

    async def _write_frames(self, stream: Any) -> None:
        try:
            while True:
                calls, cancels, since_ms = await self.outbox.take()
                if calls or cancels:
                    count = len(calls)
                    frame = self._new_frame(calls=calls, cancels=cancels, sent_ms=since_ms)
                    # Calls may be large: nothing here keeps them while the next ones are waited for.
                    calls.clear()
                    await stream.write(frame)
                    del frame
                    self._sent.count(count)
                if self.state is LaneState.DRAINING and not self.carried:
                    # The server waits for this before it exits.
                    await stream.done_writing()
                    return
        except _ENDED:
            # The reading side sees the same and reports it.
            return
        except Exception:
            log.exception("batch_write_failed", stream=self.name, address=self.address)
            stream.cancel()

    async def _read_frames(self, stream: Any) -> None:
        while (frame := await stream.read()) is not grpc.aio.EOF:
            replies = self._unpack(frame)
            self._received.count(len(replies))
            if frame.draining and self.state is LaneState.READY:
                log.info("batch_stream_draining", stream=self.name, address=self.address)
                self.state = LaneState.DRAINING
            self.on_replies(replies)
            if self.state is LaneState.DRAINING and not self.carried:
                self.outbox.poke()

    def _down(self, reason: str) -> bool:
        """Returns whether the lane was up."""
        was = self.state
        self.state = LaneState.CONNECTING
        is_news = self._outage.begin(reason)
        if was is LaneState.READY or self.carried:
            log.warning("batch_stream_lost", stream=self.name, address=self.address, reason=reason)
        elif was is LaneState.CONNECTING and is_news:
            # Once, not at each of many attempts.
            log.warning("batch_stream_refused", stream=self.name, address=self.address, reason=reason)
        self.outbox.clear()
        self.on_down(reason)
        return was is not LaneState.CONNECTING
