"""The answer to one request: its choices, each placed on a runner and moved to another one when that one fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple

from msgspec import Struct, field

from services.common.catalog import Model
from services.common.errors import Code, MeshError
from services.common.telemetry.logs import get_logger
from services.common.text_steps import AnyReply, TextStep
from services.edge.paid.mailbox import Mailbox
from services.edge.paid.output import Output
from services.edge.paid.progress import ProgressWatch, WatchedCall
from services.edge.paid.routing import Assignment, Placer
from services.edge.paid.runners import RunnerBatch, RunnerPool
from tiermesh.router.v1 import router_pb2
from tiermesh.runner.v1 import runner_pb2

log = get_logger()

# How many runners may fail one choice before the client gets the error. One that was only full does not count: several
# routers that place on it do not know of each other's placements, so that a busy mesh refuses and places again all the
# time. Such a choice waits on, in the place it had in the queue, as long as any request may wait.
# An engine that fails inside, INTERNAL, or makes no progress gets one other chance only: the next one may fail of the
# request itself, and each that is told of to the router is taken out of service for a while.
MAX_FAILURES = 4
# After so many refusals in a row there is a pause, in seconds, before the next attempt.
QUICK_REFUSALS = 4
REFUSED_PAUSE = 0.05

# What another runner may do better. Errors of the request itself would only repeat.
_FULL = {Code.OVERLOADED}
_FAILED = {Code.UNAVAILABLE, Code.INTERNAL}
# What is said when the time of a request is over, while its choices run or wait for a slot. It may be said so long, in
# seconds, before that.
_LATE = {Code.DEADLINE_EXCEEDED, Code.OVERLOADED, Code.UNAVAILABLE}
_LAST_MOMENT = 0.25
_RESULT_FULL, _RESULT_FAILED = router_pb2.Attempt.RESULT_FULL, router_pb2.Attempt.RESULT_FAILED
_RESULT_STALLED = router_pb2.Attempt.RESULT_STALLED
# Of the time that a request may take, a runner may be silent for this share at most: then there is time for another.
_SILENT_SHARE = 0.5


class ChoiceStep(NamedTuple):
    """One step of one choice, or what ends it. A tuple, because there is one for every token."""

    choice: int
    # A MeshError, or whatever was raised by the writer of steps.
    reply: AnyReply | Exception


# Takes a step of the choice with this index. What it raises ends the answer.
StepWriter = Callable[[int, AnyReply], None]


class _Choice(Struct):
    index: int
    # Choices may share it: what is sent is `outgoing`.
    call: runner_pb2.GenerateCall
    # How many choices before this one share its call, or None if it has one of its own.
    position: int | None
    assignment: Assignment
    output: Output
    client: RunnerBatch | None = None
    call_id: int = 0
    # None while it does not run.
    watched: WatchedCall | None = None
    # The vocabulary of the runner that has delivered tokens.
    vocabulary: str = ""
    # The runners that have failed, and the last one if it was full.
    attempts: list[router_pb2.Attempt] = field(default_factory=list)
    # How many runners in a row were full, and when it has waited long enough for one that is not.
    refusals: int = 0
    waits_until: float = 0.0
    # Whether its last reply has reached this edge.
    complete: bool = False
    moving: asyncio.Task[None] | None = None

    def outgoing(self) -> runner_pb2.GenerateCall:
        """Returns the call as it is sent: to go on after the tokens that have come.

        With a seed, each choice gets its own, so that they differ but repeat. A copy for the choices that share a call
        lives until it is sent; what they keep for another runner is there once.
        """
        call = self.call
        if self.position is not None:
            call = runner_pb2.GenerateCall()
            call.CopyFrom(self.call)
            if call.sampling.HasField("seed"):
                call.sampling.seed = min(call.sampling.seed + self.position, 2**63 - 1)
        call.text_steps = True
        if self.resumes:
            call.resume_token_ids[:] = self.output.token_ids
            call.resume_vocabulary = self.vocabulary
            call.resume_text_digest = self.output.text_digest()
        return call

    @property
    def resumes(self) -> bool:
        """Whether a runner that is sent the call goes on after tokens that have come."""
        return bool(self.output.token_ids) and not self.call.whole


class Generation:
    """Generates all choices of one request. `clock` is the event loop's, in seconds."""

    def __init__(  # noqa: PLR0913 - each is a choice of its own, and only by name
        self,
        *,
        model: Model,
        account_id: str,
        capabilities: tuple[str, ...],
        placer: Placer,
        runners: RunnerPool,
        progress: ProgressWatch,
        queue_timeout: float,
        request_timeout: float,
        deadline: float,
        clock: Callable[[], float],
    ) -> None:
        self._model = model
        self._account_id = account_id
        self._capabilities = capabilities
        self._placer = placer
        self._runners = runners
        self._progress = progress
        self._most_silence = min(model.silence_seconds, request_timeout * _SILENT_SHARE)
        self._queue_timeout = queue_timeout
        self._deadline = deadline
        self._clock = clock
        self._mailbox: Mailbox[ChoiceStep] = Mailbox()
        self._choices: list[_Choice] = []
        self._write_step: StepWriter | None = None
        self.started = False
        self.runner_id = ""

    @property
    def complete(self) -> bool:
        """Whether the last reply of every choice has come."""
        return self.started and all(choice.complete for choice in self._choices)

    def start(self, calls: list[runner_pb2.GenerateCall], assignment: Assignment) -> None:
        """Starts every choice on the runner that was found for the request."""
        self.runner_id = assignment.runner_id
        for index, call in enumerate(calls):
            sharing = [at for at, other in enumerate(calls) if other is call] if len(calls) > 1 else [index]
            position = sharing.index(index) if len(sharing) > 1 else None
            choice = _Choice(index, call, position, assignment, Output(self._model, call))
            self._choices.append(choice)
            self._send(choice)

    def events(self, within: float | None = None) -> Awaitable[list[ChoiceStep]]:
        """Waits for the next steps, in order for each choice; none if nothing comes `within` seconds."""
        return self._mailbox.take(within)

    def write_steps(self, write: StepWriter) -> None:
        """From now on hands every step but the last to `write` the moment it comes; the last comes as an event.

        That spares a wake-up of the serving task for every token. Steps that wait as events are written first.
        """
        self._write_step = write
        for event in self._mailbox.empty():
            if isinstance(event.reply, Exception):
                self._mailbox.put(event)
            else:
                self._pass_on(event.choice, event.reply)

    def fail(self, error: MeshError) -> None:
        """Ends the answer with an error, unless all of it has come."""
        if not self.complete:
            self._mailbox.put(ChoiceStep(0, error))

    def cancel(self) -> None:
        """Stops every choice at its engine. Idempotent, and harmless after the end."""
        for choice in self._choices:
            if choice.moving is not None:
                choice.moving.cancel()
            self._unwatch(choice)
            if choice.client is not None:
                choice.client.cancel(choice.call_id)

    def forget(self) -> None:
        """Lets go of the calls, which may be large, once the answer has ended in whatever way."""
        self._choices.clear()
        self._write_step = None

    def _send(self, choice: _Choice) -> None:
        assignment = choice.assignment
        try:
            choice.watched = self._progress.begin(
                assignment.runner_id, self._most_silence, partial(self._on_silence, choice)
            )
        except MeshError as error:
            self._on_error(choice, error)
            return
        choice.client = self._runners.get(assignment.address, self._model)
        timeout = self._deadline - self._clock()
        try:
            choice.call_id = choice.client.start(choice.outgoing(), partial(self._on_reply, choice), timeout)
        except MeshError as error:
            self._unwatch(choice)
            self._mailbox.put(ChoiceStep(choice.index, error))

    def _unwatch(self, choice: _Choice) -> None:
        if choice.watched is not None:
            self._progress.end(choice.watched)
            choice.watched = None

    def _on_reply(self, choice: _Choice, reply: AnyReply | MeshError) -> None:
        if isinstance(reply, MeshError):
            self._on_error(choice, reply)
            return
        # Nearly all are text steps, and this runs for each.
        if type(reply) is not TextStep and reply.HasField("error"):
            self._on_error(choice, MeshError.from_proto(reply.error))
            return
        if (watched := choice.watched) is not None:
            watched.heard = True
            if not watched.proven:
                self._progress.prove(watched)
        if reply.progress:
            return
        if fault := choice.output.take(reply):
            self._on_fault(choice, fault)
            return
        self.started = True
        if not choice.vocabulary:
            choice.vocabulary = choice.assignment.vocabulary
        if reply.finish_reason:
            choice.complete = True
            self._unwatch(choice)
        self._pass_on(choice.index, reply)

    def _on_fault(self, choice: _Choice, fault: str) -> None:
        """Ends a call whose runner sends what it was not asked for."""
        self._stop(choice)
        self._on_error(choice, MeshError(Code.INTERNAL, f"The runner sent {fault}. Try again."), at_fault=True)

    def _on_silence(self, choice: _Choice) -> None:
        """Ends a call with which its runner makes no progress."""
        self._stop(choice)
        error = MeshError(Code.UNAVAILABLE, "The runner made no progress. Try again.", retry_after=1.0)
        self._on_error(choice, error, _RESULT_STALLED, at_fault=True)

    def _stop(self, choice: _Choice) -> None:
        if choice.client is not None:
            choice.client.cancel(choice.call_id)

    def _pass_on(self, choice: int, reply: AnyReply) -> None:
        if self._write_step is None or reply.finish_reason:
            self._mailbox.put(ChoiceStep(choice, reply))
            return
        try:
            self._write_step(choice, reply)
        except Exception as error:  # noqa: BLE001 - raised to the runner's client, nobody would ever end the answer
            # What follows on a step that was lost is not to be seen.
            self._write_step = None
            self._mailbox.put(ChoiceStep(choice, error))

    def _on_error(
        self,
        choice: _Choice,
        error: MeshError,
        failure: router_pb2.Attempt.Result.ValueType = _RESULT_FAILED,
        *,
        at_fault: bool = False,
    ) -> None:
        """Moves a choice or ends the answer; `at_fault` says that the router hears of the runner in either case."""
        self._unwatch(choice)
        if self._is_cut_short(error):
            self._cut_short(choice)
            return
        full = error.code in _FULL
        attempt = router_pb2.Attempt(runner_id=choice.assignment.runner_id, result=_RESULT_FULL if full else failure)
        if not self._may_move(choice, error, stalled=failure == _RESULT_STALLED):
            if at_fault and not _failures(choice):
                self._placer.report(attempt, choice.call.request_id)
            self._mailbox.put(ChoiceStep(choice.index, error))
            return
        tell = log.debug if full else log.warning
        tell("generation_moves", request_id=choice.call.request_id, runner=choice.assignment.runner_id,
             code=error.code.name, tokens=len(choice.output.token_ids))  # fmt: skip
        choice.attempts = [*_failures(choice), attempt]
        choice.moving = asyncio.get_running_loop().create_task(self._move(choice))

    def _is_cut_short(self, error: MeshError) -> bool:
        """Tells whether the time of the request is over, of which text has been made: then it ends as it stands.

        Runners end their answers a moment earlier, so this is for choices that got no runner, or a silent one.
        """
        over = error.code in _LATE and self._clock() >= self._deadline - _LAST_MOMENT
        return over and self._has_text and self._model.kind == "chat"

    @property
    def _has_text(self) -> bool:
        """Whether text has reached this edge: of an answer that is sent whole, a runner first tells that it began."""
        return any(choice.output.token_ids or choice.complete for choice in self._choices)

    def _cut_short(self, choice: _Choice) -> None:
        choice.complete = True
        usage = runner_pb2.Usage(completion_tokens=len(choice.output.token_ids))
        last = runner_pb2.GenerateReply(finish_reason=runner_pb2.FINISH_REASON_LENGTH, usage=usage)
        self._pass_on(choice.index, last)

    async def _move(self, choice: _Choice) -> None:
        if choice.refusals > QUICK_REFUSALS:
            await asyncio.sleep(REFUSED_PAUSE)
        timeout = min(choice.waits_until, self._deadline) - self._clock()
        try:
            choice.assignment = await self._placer.place(
                self._model,
                self._account_id,
                timeout,
                attempts=choice.attempts,
                capabilities=self._capabilities,
                prefix_hashes=choice.assignment.prefix_hashes,
                vocabulary=choice.vocabulary if choice.resumes and self._model.kind == "chat" else "",
                request_id=choice.call.request_id,
                trace=choice.call.trace if choice.call.HasField("trace") else None,
            )
            self.runner_id = choice.assignment.runner_id
            self._send(choice)
        except Exception as error:  # noqa: BLE001 - a task that nobody waits for: the answer would never end
            if isinstance(error, MeshError) and self._is_cut_short(error):
                self._cut_short(choice)
            else:
                self._mailbox.put(ChoiceStep(choice.index, error))

    def _may_move(self, choice: _Choice, error: MeshError, *, stalled: bool) -> bool:
        """Tells whether another runner may be tried, and until when it may be waited for."""
        if error.code not in _FULL | _FAILED or choice.output.final:
            return False
        full = error.code in _FULL
        choice.refusals = choice.refusals + 1 if full else 0
        if choice.refusals < 2:
            # The other choices may have the slots that this one waits for, for as long as the request may last.
            alone = len(self._choices) == 1
            choice.waits_until = self._clock() + self._queue_timeout if alone else self._deadline
        if full:
            return self._clock() < choice.waits_until
        most = 1 if stalled or error.code is Code.INTERNAL else MAX_FAILURES
        return len(_failures(choice)) < most


def _failures(choice: _Choice) -> list[router_pb2.Attempt]:
    return [attempt for attempt in choice.attempts if attempt.result != _RESULT_FULL]
