"""Turns the steps of one job into the replies of its call."""

from __future__ import annotations

from services.common.catalog import Model
from services.common.errors import MeshError
from services.runner.kinds.base import FinishReason, TokenCounts, Work
from services.runner.kinds.text.content_logprobs import ContentLogprobs
from services.runner.kinds.text.job import Job, Step, TokenLogprob
from services.runner.kinds.text.prompt.output import ParsedText
from services.runner.kinds.text.reader import Request, RequestReader
from tiermesh.runner.v1 import runner_pb2
from tiermesh.runner.v1.runner_pb2 import GenerateCall

GenerateReply = runner_pb2.GenerateReply
_FINISH = {
    FinishReason.STOP: runner_pb2.FINISH_REASON_STOP,
    FinishReason.LENGTH: runner_pb2.FINISH_REASON_LENGTH,
}


class ReplyWriter:
    """Writes the replies of one call.

    Tokens travel with exactly the text that they stand for: while the parser holds text back, nothing is sent.
    """

    def __init__(self, call_id: int, request: Request) -> None:
        self._id = call_id
        self._whole = request.whole
        self._parser = request.parser
        self._direct = request.parser is None and not request.whole and request.job.logprobs is None
        self._started = False
        self._output = ParsedText()
        self._token_ids: list[int] = []
        self._logprobs: list[TokenLogprob] = []
        self._content_logprobs = None if self._parser is None or request.job.logprobs is None else ContentLogprobs()
        self._reasoning_tokens = _resumed_reasoning(request)

    def write(self, step: Step | MeshError) -> GenerateReply | None:
        """Returns the reply to send for one step of the engine, or None if there is nothing to send yet."""
        if isinstance(step, MeshError):
            return GenerateReply(id=self._id, error=step.to_proto())
        if step.finish_reason is None:
            if self._direct:
                # Most steps are such: a few characters of plain text.
                if step.text or step.token_ids:
                    return GenerateReply(id=self._id, text=step.text, token_ids=step.token_ids)
                return None
            return self._next(step)
        return self._last(step, step.finish_reason, step.usage or TokenCounts(0, 0))

    def _next(self, step: Step) -> GenerateReply | None:
        self._take(step)
        if self._whole:
            if self._started:
                return None
            self._started = True
            return GenerateReply(id=self._id, started=True)
        if self._parser is not None and self._parser.holding:
            return None
        anything = self._token_ids or self._output.content or self._output.reasoning or self._output.calls
        return self._flush() if anything else None

    def _last(self, step: Step, finish: FinishReason, usage: TokenCounts) -> GenerateReply:
        self._take(step)
        reason = _FINISH[finish]
        if self._parser is not None:
            self._parser.finish(self._output, cut=finish is FinishReason.LENGTH)
            self._note_content()
            # A client acts on this reason, so each of the calls has to be whole.
            if self._parser.call_count and not self._parser.in_arguments and finish is FinishReason.STOP:
                reason = runner_pb2.FINISH_REASON_TOOL_CALLS
        reply = self._flush()
        reply.started = self._whole and usage.completion_tokens > 0
        reply.finish_reason = reason
        reply.usage.prompt_tokens = usage.prompt_tokens
        reply.usage.completion_tokens = usage.completion_tokens
        reply.usage.cached_tokens = usage.cached_tokens
        reply.usage.reasoning_tokens = self._reasoning_tokens
        return reply

    def _take(self, step: Step) -> None:
        """Adds a step to what the next reply will say."""
        self._token_ids += step.token_ids
        if self._parser is None:
            self._logprobs += step.logprobs
            self._output.content.append(step.text)
            return
        if self._content_logprobs is not None:
            self._content_logprobs.add(step)
        thinking = self._parser.thinking
        self._parser.feed(step.text, self._output)
        self._note_content()
        if thinking or self._parser.thinking:
            self._reasoning_tokens += len(step.token_ids)

    def _note_content(self) -> None:
        if self._content_logprobs is not None:
            self._content_logprobs.add_content(self._output.places)
        self._output.places.clear()

    def _flush(self) -> GenerateReply:
        """Returns all that was taken since the last reply."""
        output, self._output = self._output, ParsedText()
        token_ids, self._token_ids = self._token_ids, []
        logprobs, self._logprobs = self._logprobs, []
        if self._content_logprobs is not None:
            logprobs = self._content_logprobs.take()
        calls = [
            runner_pb2.ToolCallDelta(index=call.index, id=call.id, name=call.name, arguments=call.arguments)
            for call in output.calls
        ]
        return GenerateReply(
            id=self._id,
            text="".join(output.content),
            reasoning="".join(output.reasoning),
            tool_calls=calls,
            token_ids=token_ids,
            logprobs=[_write_logprob(logprob) for logprob in logprobs],
        )


def _resumed_reasoning(request: Request) -> int:
    """Counts the reasoning tokens of an interrupted run, as far as it is still known: an unfinished thought is all."""
    thinking = request.parser is not None and request.parser.thinking
    return len(request.job.resume_token_ids) if thinking else 0


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
        return Work(request.job, ReplyWriter(call.id, request).write)
