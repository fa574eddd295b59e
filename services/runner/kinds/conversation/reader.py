"""Reads the calls for engines that take conversations, and writes the replies."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from typing import Any

from services.common.catalog import Model
from services.common.errors import MeshError
from services.runner.kinds.base import FinishReason, TokenCounts, Work
from services.runner.kinds.conversation.job import ConversationJob, ConversationStep
from services.runner.kinds.conversation.lacks import COMPLETIONS, COUNTS, GRAMMARS, IMAGES, LOGIT_BIAS, LOGPROBS
from services.runner.kinds.conversation.shape import check_answer, check_beginning
from services.runner.kinds.text.arrangement import arrange
from services.runner.kinds.text.conversation import read_messages, read_schema, read_toolbox
from services.runner.kinds.text.format_instructions import format_instructions
from services.runner.kinds.text.prompt.accepted import Accepted, SystemPlace
from services.runner.kinds.text.prompt.grammar import check_offer
from services.runner.kinds.text.prompt.thought import EFFORTS
from services.runner.kinds.text.reader import read_effort, read_sampling, read_stop
from services.runner.refusals import not_continued, unchecked
from tiermesh.runner.v1 import runner_pb2

_FINISH = {
    FinishReason.STOP: runner_pb2.FINISH_REASON_STOP,
    FinishReason.LENGTH: runner_pb2.FINISH_REASON_LENGTH,
}
# What any chat template takes.
_ACCEPTED = Accepted(system=SystemPlace.FIRST, names=False)


def _new_call_id() -> str:
    return f"call_{secrets.token_hex(12)}"


class ConversationReader:
    """Reads the calls for one engine. `context` is in tokens; a model that is sold with less gets no longer answer."""

    def __init__(self, context: int, new_call_id: Callable[[], str] = _new_call_id) -> None:
        self._context = context
        self._new_call_id = new_call_id

    def read(self, call: runner_pb2.GenerateCall, model: Model) -> Work[ConversationJob, ConversationStep]:
        """Returns the work; raises MeshError INVALID_REQUEST with `param` for what the engine's server lacks."""
        if call.HasField("completion"):
            raise COMPLETIONS.refusal()
        if call.HasField("token_count"):
            raise COUNTS.refusal()
        if call.WhichOneof("task") is not None:
            raise unchecked("model")
        if call.logprobs:
            raise LOGPROBS.refusal()
        if call.sampling.logit_bias:
            raise LOGIT_BIAS.refusal()
        if call.resume_token_ids:
            raise not_continued()
        job = self._read_job(call, model)
        return Work(job, ConversationWriter(call.id, job, whole=call.whole, new_call_id=self._new_call_id).write)

    def _read_job(self, call: runner_pb2.GenerateCall, model: Model) -> ConversationJob:
        toolbox = read_toolbox(call)
        if toolbox.tools and "tools" not in model.capabilities:
            raise unchecked("tools")
        if any(tool.arguments_grammar for tool in toolbox.tools):
            raise GRAMMARS.refusal()
        check_offer(toolbox)
        schema = read_schema(call)
        instructions = format_instructions(call.response_format, schema) if schema and not toolbox.required else ""
        if any(part.HasField("image") for message in call.messages for part in message.parts):
            raise IMAGES.refusal()
        effort = read_effort(call)
        most = call.max_tokens or None
        if model.context < self._context:
            most = min(call.max_tokens or model.context, model.context)
        messages = read_messages(arrange(call.messages, _ACCEPTED, instructions))
        return ConversationJob(
            request_id=call.request_id,
            messages=[_with_text_arguments(message) for message in messages],
            sampling=read_sampling(call.sampling),
            toolbox=toolbox,
            schema=None if toolbox.required else schema,
            max_tokens=most,
            stop=read_stop(call.stop),
            thinking=model.reasoning and effort != "none",
            effort=EFFORTS[effort] if model.reasoning and call.reasoning_effort else "",
            cache_scope=call.cache_scope,
        )


class ConversationWriter:
    """Writes the replies of one call: there are no tokens in them, so no other runner can go on after a text."""

    def __init__(
        self, call_id: int, job: ConversationJob, *, whole: bool, new_call_id: Callable[[], str] = _new_call_id
    ) -> None:
        self._id = call_id
        self._job = job
        self._whole = whole
        self._new_call_id = new_call_id
        self._started = False
        self._content: list[str] = []
        self._reasoning: list[str] = []
        # The names and the arguments of the calls so far.
        self._calls: dict[int, tuple[str, list[str]]] = {}
        self._ids: dict[int, str] = {}

    def write(self, step: ConversationStep | MeshError) -> runner_pb2.GenerateReply | None:
        """Returns the reply to send for one step, or None if there is nothing to send yet."""
        if isinstance(step, MeshError):
            return runner_pb2.GenerateReply(id=self._id, error=step.to_proto())
        reply = self._take(step)
        if step.finish_reason is not None:
            return self._last(step, step.finish_reason, reply)
        if not self._whole:
            return None if step.empty else reply
        if step.empty or self._started:
            return None
        self._started = True
        return runner_pb2.GenerateReply(id=self._id, started=True)

    def _take(self, step: ConversationStep) -> runner_pb2.GenerateReply:
        """Notes a step, and returns the reply that has it."""
        reply = runner_pb2.GenerateReply(id=self._id, text=step.text, reasoning=step.reasoning)
        self._content.append(step.text)
        self._reasoning.append(step.reasoning)
        for part in step.calls:
            delta = reply.tool_calls.add(index=part.index, arguments=part.arguments)
            if part.index not in self._calls:
                self._ids[part.index] = delta.id = self._new_call_id()
                delta.name = part.name
                self._calls[part.index] = part.name, []
            self._calls[part.index][1].append(part.arguments)
        return reply

    def _last(
        self, step: ConversationStep, finish: FinishReason, reply: runner_pb2.GenerateReply
    ) -> runner_pb2.GenerateReply:
        """Returns the last reply: the failure of an answer that has another shape than was asked for."""
        calls = [(name, "".join(arguments)) for name, arguments in self._calls.values()]
        try:
            check_beginning(self._job, called=bool(calls))
            if finish is FinishReason.STOP:
                check_answer(self._job, "".join(self._content), calls)
        except MeshError as error:
            return runner_pb2.GenerateReply(id=self._id, error=error.to_proto())
        if self._whole:
            reply = runner_pb2.GenerateReply(
                id=self._id, text="".join(self._content), reasoning="".join(self._reasoning), started=True
            )
            for index, (name, arguments) in self._calls.items():
                reply.tool_calls.add(index=index, id=self._ids[index], name=name, arguments="".join(arguments))
        calling = bool(calls) and finish is FinishReason.STOP
        reply.finish_reason = runner_pb2.FINISH_REASON_TOOL_CALLS if calling else _FINISH[finish]
        usage = step.usage or TokenCounts(0, 0)
        reply.started = self._whole and usage.completion_tokens > 0
        reply.usage.prompt_tokens = usage.prompt_tokens
        reply.usage.completion_tokens = usage.completion_tokens
        reply.usage.cached_tokens = usage.cached_tokens
        reply.usage.reasoning_tokens = step.reasoning_tokens
        return reply


def _with_text_arguments(message: dict[str, Any]) -> dict[str, Any]:
    """Returns a message whose calls have their arguments as JSON text, as in OpenAI's form."""
    if "tool_calls" not in message:
        return message
    calls = [
        {
            **call,
            "function": {
                **call["function"],
                "arguments": json.dumps(call["function"]["arguments"], ensure_ascii=False),
            },
        }
        for call in message["tool_calls"]
    ]
    return {**message, "tool_calls": calls}
