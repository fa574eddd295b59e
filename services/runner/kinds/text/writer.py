"""Turns the steps of one job into the replies of its call."""

from __future__ import annotations

from typing import cast

from services.common.catalog import Model
from services.common.errors import MeshError
from services.common.text_steps import AnyReply, TextStep
from services.runner.kinds.base import FinishReason, TokenCounts, Work
from services.runner.kinds.text.content_logprobs import ContentLogprobs
from services.runner.kinds.text.engine import TextTicket
from services.runner.kinds.text.job import Job, Step, TokenLogprob
from services.runner.kinds.text.prompt.output import add
from services.runner.kinds.text.reader import Request, RequestReader
from services.runner.kinds.text.stops import HeldSegments, Segment
from tiermesh.runner.v1 import runner_pb2
from tiermesh.runner.v1.runner_pb2 import GenerateCall

GenerateReply = runner_pb2.GenerateReply
_FINISH = {
    FinishReason.STOP: runner_pb2.FINISH_REASON_STOP,
    FinishReason.LENGTH: runner_pb2.FINISH_REASON_LENGTH,
}


class ReplyWriter:
    """Writes the replies of one call.

    Tokens travel with exactly the text that they stand for: while the parser holds text back, nothing is sent. Stop
    strings are looked for in the content alone. The first one ends the job, and what the engine says until it has
    stopped is dropped.
    """

    def __init__(self, call_id: int, request: Request, *, text_steps: bool = False) -> None:
        """`text_steps` says that the edge reads those."""
        self._id = call_id
        self._text_steps = text_steps
        self._whole = request.whole
        self._parser = request.parser
        self._held = HeldSegments(request.stop) if request.stop else None
        self._direct = (
            request.parser is None and self._held is None and not request.whole and request.job.logprobs is None
        )
        self._started = False
        # What was taken since the last segment was complete.
        self._segment = Segment()
        # Tokens of the answer so far, those of an interrupted run included.
        self._tokens = len(request.job.resume_token_ids)
        self._ticket: TextTicket | None = None
        # Whether a stop string has come.
        self._stopped = False
        self._content_logprobs = None if self._parser is None or request.job.logprobs is None else ContentLogprobs()
        self._reasoning = request.reasoning

    def begin(self, ticket: TextTicket) -> None:
        """Takes the ticket of the job, which a stop string ends."""
        self._ticket = ticket

    def write(self, step: Step | MeshError) -> AnyReply | None:
        """Returns the reply to send for one step of the engine, or None if there is nothing to send yet."""
        if isinstance(step, MeshError):
            return GenerateReply(id=self._id, error=step.to_proto())
        if step.finish_reason is None:
            if self._direct:
                # Most steps are such: a few characters of plain text.
                if step.text or step.token_ids:
                    if self._text_steps:
                        return TextStep(self._id, step.text, step.token_ids)
                    return GenerateReply(id=self._id, text=step.text, token_ids=step.token_ids)
                return None
            return self._next(step)
        return self._last(step, step.finish_reason, step.usage or TokenCounts(0, 0))

    def _next(self, step: Step) -> GenerateReply | None:
        if self._stopped:
            return None
        if self._take(step):
            # The last step may come within this call.
            if self._ticket is not None:
                self._ticket.finish(FinishReason.STOP)
            return None
        if self._whole:
            if self._started:
                return None
            self._started = True
            return GenerateReply(id=self._id, started=True)
        if self._parser is not None and self._parser.holding:
            return None
        segment = self._completed()
        self._segment = Segment()
        if self._held is not None:
            self._held.add(segment)
            segment = self._held.certain()
        return None if segment.empty else self._reply(segment)

    def _last(self, step: Step, finish: FinishReason, usage: TokenCounts) -> GenerateReply:
        stopped = self._stopped or self._take(step)
        if self._parser is not None and not stopped:
            self._parser.finish(self._segment.output, cut=finish is FinishReason.LENGTH)
            self._note_content()
        segment = self._completed()
        if self._held is not None:
            self._held.add(segment)
            segment = self._held.rest()
        reply = self._reply(segment)
        reply.started = self._whole and usage.completion_tokens > 0
        reply.finish_reason = self._reason(finish)
        if self._held is not None:
            reply.stop = self._held.stop
        if step.prompt_logprobs:
            reply.prompt_logprobs.extend(map(_write_logprob, step.prompt_logprobs))
        counts = reply.usage
        counts.prompt_tokens = usage.prompt_tokens
        counts.completion_tokens = self._tokens if self._stopped else usage.completion_tokens
        counts.cached_tokens = usage.cached_tokens
        counts.reasoning_tokens = self._reasoning.count if self._reasoning is not None else 0
        return reply

    def _reason(self, finish: FinishReason) -> runner_pb2.FinishReason.ValueType:
        parser = self._parser
        if self._stopped:
            finish = FinishReason.STOP
        if parser is None or finish is not FinishReason.STOP:
            return _FINISH[finish]
        # A client acts on this reason, so each of the calls has to be whole. Those before a stop string are.
        if self._stopped and self._held is not None:
            calling = parser.call_count > self._held.calls_dropped
        else:
            calling = parser.call_count > 0 and not parser.in_arguments
        return runner_pb2.FINISH_REASON_TOOL_CALLS if calling else _FINISH[finish]

    def _take(self, step: Step) -> bool:
        """Adds a step to what the next reply will say; returns whether a stop string is complete."""
        self._tokens += len(step.token_ids)
        segment = self._segment
        segment.token_ids += step.token_ids
        if self._parser is None:
            segment.logprobs += step.logprobs
            add(segment.output.content, step.text)
            if self._held is not None:
                self._stopped = self._held.look(segment.output)
            return self._stopped
        if self._content_logprobs is not None:
            self._content_logprobs.add(step)
        self._parser.feed(step.text, segment.output)
        self._note_content()
        if self._reasoning is not None:
            self._reasoning.add(step.token_ids)
        return self._stopped

    def _note_content(self) -> None:
        output = self._segment.output
        if self._held is not None:
            self._stopped = self._held.look(output)
        if self._content_logprobs is not None:
            self._content_logprobs.add_content(output.places)
        output.places.clear()

    def _completed(self) -> Segment:
        """Returns the segment at hand, which is complete."""
        segment = self._segment
        if self._content_logprobs is not None:
            segment.logprobs = self._content_logprobs.take()
        return segment

    def _reply(self, segment: Segment) -> GenerateReply:
        output = segment.output
        calls = [
            runner_pb2.ToolCallDelta(index=call.index, id=call.id, name=call.name, arguments=call.arguments)
            for call in output.calls
        ]
        return GenerateReply(
            id=self._id,
            text="".join(output.content),
            reasoning="".join(output.reasoning),
            tool_calls=calls,
            token_ids=segment.token_ids,
            logprobs=[_write_logprob(logprob) for logprob in segment.logprobs],
        )


def _write_logprob(entry: TokenLogprob) -> runner_pb2.TokenLogprob:
    return runner_pb2.TokenLogprob(
        token=entry.token.decode(errors="replace"),
        token_bytes=entry.token,
        logprob=entry.logprob,
        top=[
            runner_pb2.TopLogprob(token=top.token.decode(errors="replace"), token_bytes=top.token, logprob=top.logprob)
            for top in entry.top
        ],
    )


class TextReader:
    """Brings together how a call is read and how its replies are written."""

    def __init__(self, requests: RequestReader) -> None:
        self._requests = requests

    def read(self, call: GenerateCall, model: Model) -> Work[Job, Step]:
        """Returns the work; raises MeshError INVALID_REQUEST."""
        request = self._requests.read(call, model)
        writer = ReplyWriter(call.id, request, text_steps=call.text_steps)
        if not request.stop:
            return Work(request.job, writer.write)
        return Work(request.job, writer.write, begin=lambda ticket: writer.begin(cast("TextTicket", ticket)))
