"""One lane of a batch client: one stream to one replica, opened again whenever it breaks."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from enum import Enum
from typing import Any, Generic

import grpc

from services.common.batch.frames import CallT, NewRequestFrame, ReplyT, ResponseFrame
from services.common.batch.metrics import CONNECTS, FrameCounter
from services.common.batch.outbox import Outbox
from services.common.logs import get_logger

log = get_logger()

# Opens the stream on a channel: `lambda channel: SomeServiceStub(channel).Method()`.
OpenStream = Callable[[grpc.aio.Channel], Any]

CONNECT_TIMEOUT = 2.0
FIRST_BACKOFF = 0.05
LAST_BACKOFF = 0.5


class LaneState(Enum):
    """What a lane can be used for."""

    CONNECTING = "connecting"
    READY = "ready"
    DRAINING = "draining"


class Lane(Generic[CallT, ReplyT]):
    """Keeps one stream open. The client owns the calls; the lane only carries them.

    `on_up` is called when the server has answered, `on_frame` for each response frame, and `on_down` with a reason
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
        outbox_limit: int,
    ) -> None:
        self.name = name
        self.address = address
        self.state = LaneState.CONNECTING
        self.outbox: Outbox[CallT] = Outbox(outbox_limit)
        # Ids of the calls that this lane carries.
        self.carried: set[int] = set()
        self.on_up: Callable[[], None] = lambda: None
        self.on_frame: Callable[[ResponseFrame[ReplyT]], None] = lambda _: None
        self.on_down: Callable[[str], None] = lambda _: None
        self._open_channel = open_channel
        self._open_stream = open_stream
        self._new_frame = new_frame
        self._sent = FrameCounter(name, "sent")
        self._received = FrameCounter(name, "received")

    async def run(self) -> None:
        """Opens the stream again and again until cancelled."""
        backoff = FIRST_BACKOFF
        while True:
            # A fresh channel each time: no back-off of gRPC's own in the way, and rotated certificates are used.
            channel = self._open_channel(self.address)
            reason = "the server closed the stream"
            try:
                was_up = await self._serve_once(channel)
                backoff = FIRST_BACKOFF if was_up else backoff
            except (grpc.aio.AioRpcError, TimeoutError) as error:
                reason = error.code().name if isinstance(error, grpc.aio.AioRpcError) else "no answer to connecting"
                backoff = FIRST_BACKOFF if self.state is not LaneState.CONNECTING else backoff
            finally:
                await channel.close()
            self._down(reason)
            await asyncio.sleep(backoff * random.uniform(0.5, 1.0))  # noqa: S311 - jitter is no secret
            backoff = min(backoff * 2, LAST_BACKOFF)

    async def _serve_once(self, channel: grpc.aio.Channel) -> bool:
        stream = self._open_stream(channel)
        writer: asyncio.Task[None] | None = None
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                hello = await stream.read()
            if hello is grpc.aio.EOF:
                return False
            self.state = LaneState.READY
            CONNECTS.labels(self.name).inc()
            writer = asyncio.create_task(self._write_frames(stream))
            self.on_up()
            await self._read_frames(stream)
            return True
        finally:
            if writer is not None:
                writer.cancel()
            stream.cancel()

    async def _write_frames(self, stream: Any) -> None:
        try:
            while True:
                calls, cancels = await self.outbox.take()
                if calls or cancels:
                    await stream.write(self._new_frame(calls=calls, cancels=cancels))
                    self._sent.count(len(calls))
                if self.state is LaneState.DRAINING and not self.carried:
                    # The server waits for this before it exits.
                    await stream.done_writing()
                    return
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            # The reading side sees the same break and reports it.
            stream.cancel()

    async def _read_frames(self, stream: Any) -> None:
        while (frame := await stream.read()) is not grpc.aio.EOF:
            self._received.count(len(frame.replies))
            if frame.draining and self.state is LaneState.READY:
                log.info("batch_stream_draining", stream=self.name, address=self.address)
                self.state = LaneState.DRAINING
            self.on_frame(frame)
            if self.state is LaneState.DRAINING and not self.carried:
                self.outbox.poke()
        # Closing in good order still raises what the server ended with, if it was an error.
        status = await stream.code()
        if status is not grpc.StatusCode.OK:
            raise grpc.aio.AioRpcError(status, await stream.initial_metadata(), await stream.trailing_metadata())

    def _down(self, reason: str) -> None:
        if self.state is not LaneState.CONNECTING:
            log.warning("batch_stream_lost", stream=self.name, address=self.address, reason=reason)
        self.state = LaneState.CONNECTING
        self.outbox.clear()
        self.on_down(reason)
