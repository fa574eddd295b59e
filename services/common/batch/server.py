"""The answering side of batch streams: one `BatchStream` for each stream that a client has open."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

import grpc

from services.common.batch.frames import CallT, NewReply, NewResponseFrame, ReplyT
from services.common.batch.lateness import Lateness
from services.common.batch.metrics import LATE, FrameCounter
from services.common.batch.notes import CallNotes, Notes
from services.common.batch.outbox import ReplyOutbox
from services.common.errors import Code, MeshError
from services.common.telemetry.logs import get_logger

log = get_logger()

# A frame that is read so many seconds late is not worth a look at its calls: their timeouts are estimates anyway.
_PROMPT = 0.05
_PLAIN = Notes()
CallT_contra = TypeVar("CallT_contra", contravariant=True)


class BatchStream(Generic[ReplyT]):
    """One client's stream. Handlers reply through it at any later time; replies after its end go nowhere."""

    def __init__(self, new_reply: NewReply[ReplyT], limit: int, weigh: Callable[[ReplyT], int] | None = None) -> None:
        self.outbox: ReplyOutbox[ReplyT] = ReplyOutbox(limit, weigh)
        self.draining = False
        # Why the server ends the stream, if it does.
        self.cut_reason = ""
        # None while nothing is to be noted.
        self.notes: CallNotes | None = None
        self._new_reply = new_reply
        self._task = asyncio.current_task()
        self._open = True

    def reply(self, reply: ReplyT) -> None:
        """Sends a reply with the next frame. A client that does not read is cut off, so that memory stays bounded."""
        if not self._open:
            return
        if not self.outbox.put(reply):
            self.cut("the client does not read its replies")
        elif self.notes is not None:
            self.notes.replied(reply)

    def reply_error(self, call_id: int, error: MeshError) -> None:
        """Answers a call with an error."""
        self.reply(self._new_reply(id=call_id, error=error.to_proto()))

    def show_life(self) -> None:
        """Sends a frame even without replies, to a client that judges by its silence whether the server lives."""
        self.outbox.poke()

    def drain(self) -> None:
        """Asks the client to send nothing new; it closes the stream once its calls are answered."""
        self.draining = True
        self.outbox.poke()

    def cut(self, reason: str) -> None:
        """Ends the stream from this side; the client may open another one."""
        if self._open and self._task is not None:
            self.close()
            self.cut_reason = reason
            self._task.cancel()

    def close(self) -> None:
        """Makes later replies go nowhere."""
        self._open = False
        self.outbox.clear()
        if self.notes is not None:
            self.notes.closed()


class BatchHandler(Protocol[CallT_contra, ReplyT]):
    """What a service does with calls. Nothing here waits: long work happens in tasks of the handler's own.

    If `on_calls` raises, the calls of that frame are dropped and answered with INTERNAL; others are not touched.
    """

    def on_calls(self, calls: Sequence[CallT_contra], stream: BatchStream[ReplyT]) -> None:
        """Takes the calls of one frame; each must be answered through the stream, once or more as the rpc says."""

    def on_cancel(self, call_id: int, stream: BatchStream[ReplyT]) -> None:
        """Drops a call; unknown ids (answered already) are ignored."""

    def on_close(self, stream: BatchStream[ReplyT]) -> None:
        """Drops every call of a stream that has ended."""


class BatchServer(Generic[CallT, ReplyT]):
    """Serves one hot-path rpc; the servicer's method is `await server.serve(context)`.

    `weigh` is for replies that may be large: with the bytes of each, frames are bounded by bytes too.
    """

    def __init__(
        self,
        name: str,
        handler: BatchHandler[CallT, ReplyT],
        *,
        new_frame: NewResponseFrame[ReplyT],
        new_reply: NewReply[ReplyT],
        outbox_limit: int = 100_000,
        notes: Notes = _PLAIN,
        weigh: Callable[[ReplyT], int] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` counts seconds and never goes back."""
        self._weigh = weigh
        self._name = name
        self._handler = handler
        self._new_frame = new_frame
        self._new_reply = new_reply
        self._outbox_limit = outbox_limit
        self._notes = notes
        self._clock = clock
        # A dict, because it keeps the order in which they were opened.
        self._streams: dict[BatchStream[ReplyT], None] = {}
        self._empty = asyncio.Event()
        self._empty.set()
        self._draining = False
        self._sent = FrameCounter(name, "sent")
        self._received = FrameCounter(name, "received")
        self._late = LATE.labels(name)

    async def serve(self, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        """Serves one stream until the client closes it."""
        stream = BatchStream(self._new_reply, self._outbox_limit, self._weigh)
        stream.draining = self._draining
        if self._notes.wanted:
            stream.notes = CallNotes(self._name, self._notes)
        self._streams[stream] = None
        self._empty.clear()
        try:
            await context.write(self._new_frame(replies=(), draining=self._draining))
            await self._carry(stream, context)
        except asyncio.CancelledError:
            if not stream.cut_reason:
                raise
        finally:
            stream.close()
            del self._streams[stream]
            if not self._streams:
                self._empty.set()
            self._handler.on_close(stream)
        if stream.cut_reason:
            log.warning("batch_stream_cut", stream=self._name, reason=stream.cut_reason)
            # Without a status the client would wait for ever: gRPC sends none for a cancelled method.
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, stream.cut_reason)

    async def drain(self, seconds: float) -> None:
        """Asks every client to stop sending, and waits until all have been answered, at most `seconds`."""
        self._draining = True
        for stream in self._streams:
            stream.drain()
        try:
            async with asyncio.timeout(seconds):
                await self._empty.wait()
        except TimeoutError:
            pass

    async def _carry(self, stream: BatchStream[ReplyT], context: grpc.aio.ServicerContext[Any, Any]) -> None:
        writer = asyncio.create_task(self._write_frames(stream, context))
        lateness = Lateness(self._clock)
        try:
            while (frame := await context.read()) is not grpc.aio.EOF:
                self._received.count(len(frame.calls))
                if frame.calls:
                    late = lateness.of(frame.sent_ms)
                    calls = frame.calls if late < _PROMPT else self._still_wanted(frame.calls, late, stream)
                    if calls:
                        self._on_calls(calls, stream)
                for call_id in frame.cancels:
                    if stream.notes is not None:
                        stream.notes.cancelled(call_id)
                    self._on_cancel(call_id, stream)
        finally:
            writer.cancel()

    def _still_wanted(self, calls: Sequence[CallT], late: float, stream: BatchStream[ReplyT]) -> list[CallT]:
        """Shortens the timeouts of calls that are read late, and refuses those whose callers have stopped waiting."""
        late_ms = int(late * 1000)
        wanted: list[CallT] = []
        for call in calls:
            if not call.timeout_ms:
                wanted.append(call)
            elif call.timeout_ms > late_ms:
                call.timeout_ms -= late_ms
                wanted.append(call)
            else:
                self._late.inc()
                stream.reply_error(call.id, MeshError(Code.DEADLINE_EXCEEDED, "the call was read too late; try again"))
        return wanted

    def _on_calls(self, calls: Sequence[CallT], stream: BatchStream[ReplyT]) -> None:
        try:
            if stream.notes is not None:
                stream.notes.received(calls)
            self._handler.on_calls(calls, stream)
        except Exception:
            log.exception("batch_calls_failed", stream=self._name, request_ids=self._notes.request_ids(calls))
            error = MeshError(Code.INTERNAL, "an internal error happened; its log has the details")
            for call in calls:
                self._on_cancel(call.id, stream)
                stream.reply_error(call.id, error)

    def _on_cancel(self, call_id: int, stream: BatchStream[ReplyT]) -> None:
        try:
            self._handler.on_cancel(call_id, stream)
        except Exception:
            log.exception("batch_cancel_failed", stream=self._name)

    async def _write_frames(self, stream: BatchStream[ReplyT], context: grpc.aio.ServicerContext[Any, Any]) -> None:
        try:
            while True:
                replies = await stream.outbox.take()
                await context.write(self._new_frame(replies=replies, draining=stream.draining))
                self._sent.count(len(replies))
        except grpc.aio.BaseError:
            # The client is gone; the reading side ends the stream.
            stream.close()
        except Exception:
            log.exception("batch_write_failed", stream=self._name)
            stream.cut("an internal error happened")
