"""Runs the calls of edges on the engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Generic

from services.common.batch import BatchStream
from services.common.catalog import Model
from services.common.errors import Code, MeshError
from services.common.telemetry.logs import get_logger
from services.runner.engines.base import Engine, Ticket
from services.runner.kinds.base import JobT, StepT, WorkReader
from services.runner.metrics import (
    CACHED_TOKENS,
    COMPLETION_TOKENS,
    FINISHED,
    FIRST_STEP,
    OUTPUT_TOKEN,
    PROMPT_TOKENS,
)
from services.runner.status import StatusBoard
from tiermesh.runner.v1.runner_pb2 import GenerateCall, GenerateReply

log = get_logger()
RunnerStream = BatchStream[GenerateReply]


class Generation(Generic[JobT, StepT]):
    """The batch handler of Generate: every call becomes a job, every step of the job a reply."""

    def __init__(
        self,
        engine: Engine[JobT, StepT],
        reader: WorkReader[JobT, StepT],
        models: Mapping[str, Model],
        status: StatusBoard,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._reader = reader
        self._models = models
        self._status = status
        self._clock = clock
        self._running: dict[RunnerStream, dict[int, Ticket]] = {}

    def on_calls(self, calls: Sequence[GenerateCall], stream: RunnerStream) -> None:
        """Starts a job for each call; what is refused is answered at once."""
        for call in calls:
            try:
                self._start(call, stream)
            except MeshError as error:
                FINISHED.labels(error.code.name.lower()).inc()
                stream.reply_error(call.id, error)
            except Exception:
                log.exception("call_failed", request_id=call.request_id)
                stream.reply_error(call.id, MeshError(Code.INTERNAL, "the runner failed to start the request"))

    def on_cancel(self, call_id: int, stream: RunnerStream) -> None:
        """Stops the job of a call."""
        ticket = self._running.get(stream, {}).pop(call_id, None)
        if ticket is not None:
            self._cancel(ticket)

    def on_close(self, stream: RunnerStream) -> None:
        """Stops every job of an edge that has gone."""
        for ticket in self._running.pop(stream, {}).values():
            self._cancel(ticket)

    def _start(self, call: GenerateCall, stream: RunnerStream) -> None:
        if self._status.draining:
            raise MeshError(Code.UNAVAILABLE, "the runner is shutting down; try again", retry_after=1.0)
        model = self._models.get(call.model)
        if model is None:
            raise MeshError(Code.MODEL_NOT_FOUND, f"this runner does not serve {call.model!r}", param="model")
        work = self._reader.read(call, model)
        running = self._running.setdefault(stream, {})
        # Not the call itself, which may hold images, for as long as the job runs.
        call_id, request_id = call.id, call.request_id

        submitted, first_at = self._clock(), 0.0

        def emit(step: StepT | MeshError) -> None:
            nonlocal first_at
            first_at = first_at or self._clock()
            if isinstance(step, MeshError) or step.finish_reason is not None:
                running.pop(call_id, None)
                self._ended(step, submitted, first_at)
            try:
                reply = work.write(step)
            except Exception as error:  # noqa: BLE001 - whatever it is, it ends this call and no other
                self._not_written(call_id, request_id, stream, error)
                return
            if reply is not None:
                stream.reply(reply)

        running[call_id] = self._engine.submit(work.job, emit)
        self._status.admitted()

    def _not_written(self, call_id: int, request_id: str, stream: RunnerStream, error: Exception) -> None:
        """Ends a call whose step could not become a reply: its edge would wait for ever."""
        # Only its type is logged: its text may quote the answer.
        log.error("reply_not_written", request_id=request_id, error=type(error).__name__)
        self.on_cancel(call_id, stream)
        stream.reply_error(call_id, MeshError(Code.INTERNAL, "the runner failed to write the answer; try again"))

    def _cancel(self, ticket: Ticket) -> None:
        ticket.cancel()
        FINISHED.labels("cancelled").inc()
        self._status.changed()

    def _ended(self, step: StepT | MeshError, submitted: float, first_at: float) -> None:
        if isinstance(step, MeshError):
            FINISHED.labels(step.code.name.lower()).inc()
        else:
            FINISHED.labels(step.finish_reason.value if step.finish_reason else "unknown").inc()
            if step.usage is not None:
                PROMPT_TOKENS.inc(step.usage.prompt_tokens)
                COMPLETION_TOKENS.inc(step.usage.completion_tokens)
                CACHED_TOKENS.inc(step.usage.cached_tokens)
                FIRST_STEP.observe(first_at - submitted)
                if step.usage.completion_tokens > 1:
                    OUTPUT_TOKEN.observe((self._clock() - first_at) / (step.usage.completion_tokens - 1))
        self._status.changed()
