"""Runs the calls of edges on the engine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, cast

from services.common.batch import BatchStream
from services.common.catalog import Model
from services.common.errors import Code, MeshError
from services.common.limits.reply_sizes import largest_reply
from services.common.telemetry.logs import get_logger
from services.common.text_steps import AnyReply
from services.runner.counting import Counting
from services.runner.engines.base import Engine, Ticket
from services.runner.kinds.base import JobT, StepT, WorkReader
from services.runner.kinds.text.engine import TextEngine, TextTicket
from services.runner.metrics import (
    CACHED_TOKENS,
    COMPLETION_TOKENS,
    COUNTED,
    FINISHED,
    FIRST_STEP,
    OUTPUT_TOKEN,
    PROMPT_TOKENS,
)
from services.runner.refusals import uncounted
from services.runner.status import StatusBoard
from tiermesh.runner.v1.runner_pb2 import FINISH_REASON_STOP, GenerateCall, GenerateReply, TokenCount

log = get_logger()
# An answer that reaches the time limit of its request ends so long before it, in seconds and as a share of what is left
# when it begins, that its end still reaches the edge in time.
_LEAD_SECONDS = 1.0
_LEAD_SHARE = 0.1
# Seconds between two looks at what makes progress without saying anything.
BEAT_SECONDS = 1.0
RunnerStream = BatchStream[AnyReply]


@dataclass(slots=True)
class _Running:
    ticket: Ticket
    # Ends the answer when the time of its request is over; None for what cannot be cut short.
    limit: asyncio.TimerHandle | None
    # The progress that the edge has been told of.
    told: int

    def forget_limit(self) -> None:
        if self.limit is not None:
            self.limit.cancel()


class Generation(Generic[JobT, StepT]):
    """The batch handler of Generate: every call becomes a job, every step of the job a reply."""

    def __init__(
        self,
        engine: Engine[JobT, StepT],
        reader: WorkReader[JobT, StepT],
        models: Mapping[str, Model],
        status: StatusBoard,
        clock: Callable[[], float] = time.monotonic,
        *,
        counting: Counting | None = None,
    ) -> None:
        """`counting` is for engines whose prompts have tokens."""
        self._counting = counting
        self._engine = engine
        self._reader = reader
        self._models = models
        self._status = status
        self._clock = clock
        self._texts = isinstance(engine, TextEngine)
        self._largest = {name: largest_reply(model) for name, model in models.items()}
        self._running: dict[RunnerStream, dict[int, _Running]] = {}
        # Is due only while calls run.
        self._beat: asyncio.TimerHandle | None = None

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
                stream.reply_error(
                    call.id, MeshError(Code.INTERNAL, "The runner failed to start the request. Try again.")
                )

    def on_cancel(self, call_id: int, stream: RunnerStream) -> None:
        """Stops the job of a call."""
        running = self._running.get(stream, {}).pop(call_id, None)
        if running is not None:
            self._cancel(running)

    def on_close(self, stream: RunnerStream) -> None:
        """Stops every job of an edge that has gone."""
        for running in self._running.pop(stream, {}).values():
            self._cancel(running)

    def _start(self, call: GenerateCall, stream: RunnerStream) -> None:
        model = self._model(call)
        if call.HasField("token_count"):
            self._count(call, model, stream)
            return
        work = self._reader.read(call, model)
        running = self._running.setdefault(stream, {})
        # Not the call itself, which may hold images, for as long as the job runs.
        call_id, request_id = call.id, call.request_id

        submitted, first_at, largest = self._clock(), 0.0, self._largest[call.model]

        def emit(step: StepT | MeshError) -> None:
            nonlocal first_at
            first_at = first_at or self._clock()
            if isinstance(step, MeshError) or step.finish_reason is not None:
                if (ended := running.pop(call_id, None)) is not None:
                    ended.forget_limit()
                self._ended(step, submitted, first_at)
            try:
                reply = work.write(step)
            except Exception as error:  # noqa: BLE001 - whatever it is, it ends this call and no other
                self._not_written(call_id, request_id, stream, error)
                return
            if reply is None:
                return
            if reply.finish_reason and reply.ByteSize() > largest:
                # It would break the stream, and all calls on it.
                refusal = MeshError(Code.INTERNAL, "The answer is too large to be sent. Ask for less of it.")
                stream.reply_error(call_id, refusal)
                return
            stream.reply(reply)

        ticket = self._engine.submit(work.job, emit)
        if work.begin is not None:
            work.begin(ticket)
        running[call_id] = _Running(ticket, self._time_limit(ticket, call.timeout_ms), ticket.progress)
        if self._beat is None:
            self._beat = asyncio.get_running_loop().call_later(BEAT_SECONDS, self._tell_progress)
        self._status.admitted()

    def _model(self, call: GenerateCall) -> Model:
        """Returns the model of a call; raises MeshError if nothing is served any more, or not this model."""
        if self._status.draining:
            raise MeshError(Code.UNAVAILABLE, "The runner is shutting down. Try again.", retry_after=1.0)
        model = self._models.get(call.model)
        if model is None:
            raise MeshError(
                Code.MODEL_NOT_FOUND, f"This runner does not serve the model {call.model!r}.", param="model"
            )
        return model

    def _count(self, call: GenerateCall, model: Model, stream: RunnerStream) -> None:
        """Has the tokens of a prompt counted: it is no job of the engine, and no load of this runner."""
        if self._counting is None:
            raise uncounted()
        running, call_id = self._running.setdefault(stream, {}), call.id

        def emit(outcome: TokenCount | MeshError) -> None:
            running.pop(call_id, None)
            if isinstance(outcome, MeshError):
                FINISHED.labels(outcome.code.name.lower()).inc()
                stream.reply_error(call_id, outcome)
            else:
                stream.reply(GenerateReply(id=call_id, finish_reason=FINISH_REASON_STOP, token_count=outcome))
                COUNTED.inc()

        ticket = self._counting.submit(call, model, emit)
        running[call_id] = _Running(ticket, None, ticket.progress)

    def _tell_progress(self) -> None:
        """Tells edges which calls have come further, whether or not there was anything to deliver.

        An edge gives a call to another runner that seems to stand still, and long prompts take their time.
        """
        self._beat = None
        anything = False
        for stream, calls in self._running.items():
            for call_id, running in calls.items():
                anything = True
                progress = running.ticket.progress
                if progress != running.told:
                    running.told = progress
                    stream.reply(GenerateReply(id=call_id, progress=True))
        if anything:
            self._beat = asyncio.get_running_loop().call_later(BEAT_SECONDS, self._tell_progress)

    def _time_limit(self, ticket: Ticket, timeout_ms: int) -> asyncio.TimerHandle | None:
        """Has an answer of text end as its length limit would, if it reaches the time limit of its request."""
        if not timeout_ms or not self._texts:
            return None
        seconds = timeout_ms / 1000
        lead = min(_LEAD_SECONDS, seconds * _LEAD_SHARE)
        return asyncio.get_running_loop().call_later(seconds - lead, cast("TextTicket", ticket).finish)

    def _not_written(self, call_id: int, request_id: str, stream: RunnerStream, error: Exception) -> None:
        """Ends a call whose step could not become a reply: its edge would wait for ever."""
        # Only its type is logged: its text may quote the answer.
        log.error("reply_not_written", request_id=request_id, error=type(error).__name__)
        self.on_cancel(call_id, stream)
        stream.reply_error(call_id, MeshError(Code.INTERNAL, "The runner failed to write the answer. Try again."))

    def _cancel(self, running: _Running) -> None:
        running.forget_limit()
        running.ticket.cancel()
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
