"""Renders messages: whole bodies and the events of streams, as JSON bytes."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from services.common.errors import MeshError
from services.common.text_steps import AnyReply
from services.edge.http.errors import error_body
from services.edge.messages.blocks import BlockStream, event
from services.edge.messages.errors import ANTHROPIC_ERRORS
from services.edge.messages.field_names import FieldNames
from services.edge.messages.message_object import (
    AnthropicMessage,
    Content,
    MessageUsage,
    OutputTokens,
    StopReason,
    TextContent,
    ThinkingContent,
    ToolUseContent,
)
from services.edge.messages.thoughts import ThoughtSigner
from services.edge.paid.delivery import Finished, receipt_body
from services.edge.paid.hold import Receipt
from tiermesh.runner.v1 import runner_pb2

# What breaks the silence of a stream.
PING = event("ping")
_STOP_REASONS: dict[int, StopReason] = {
    runner_pb2.FINISH_REASON_STOP: "end_turn",
    runner_pb2.FINISH_REASON_LENGTH: "max_tokens",
    runner_pb2.FINISH_REASON_TOOL_CALLS: "tool_use",
}


class MessageRenderer:
    """Renders one answer."""

    def __init__(
        self, request_id: str, model: str, names: FieldNames, thoughts: ThoughtSigner, *, thoughts_shown: bool
    ) -> None:
        """`thoughts` signs what the model thinks; unless they are shown, the signatures are all that is told."""
        self._request_id = request_id
        self._names = names
        self._thoughts = thoughts
        self._thoughts_shown = thoughts_shown
        self._blocks = BlockStream(thoughts, shown=thoughts_shown)
        self._message = AnthropicMessage(
            id="msg_" + request_id.removeprefix("req_"),
            model=model,
            content=[],
            stop_reason=None,
            stop_sequence=None,
            # What the prompt takes is known at the end.
            usage=_usage(runner_pb2.Usage()),
        )

    def body(self, replies: list[runner_pb2.GenerateReply]) -> bytes:
        """Returns the whole body; `replies` holds the last reply of the one choice."""
        last = replies[0]
        stop_reason, stop_sequence = _stop(last)
        message = replace(
            self._message,
            content=self._content(last),
            stop_reason=stop_reason,
            stop_sequence=stop_sequence,
            usage=_usage(last.usage),
        )
        return msgspec.json.encode(message)

    def open(self) -> bytes:
        """Returns the event that precedes the content."""
        return event("message_start", message=self._message)

    def step(self, choice: int, reply: AnyReply) -> bytes:  # noqa: ARG002 - there is only one choice
        """Returns the events for one step, empty if it shows nothing."""
        return self._blocks.take(reply)

    def end(self, finished: Finished, receipt: Receipt) -> bytes:
        """Returns the events that end the last block and the message; the last one says what it has cost."""
        last = finished[0]
        stop_reason, stop_sequence = _stop(last)
        usage = _usage(last.usage)
        counted = {
            "input_tokens": usage.input_tokens,
            "cache_creation_input_tokens": usage.cache_creation_input_tokens,
            "cache_read_input_tokens": usage.cache_read_input_tokens,
            "output_tokens": usage.output_tokens,
            "output_tokens_details": usage.output_tokens_details,
        }
        delta = {"stop_reason": stop_reason, "stop_sequence": stop_sequence}
        return b"".join(
            [
                self._blocks.finish(),
                event("message_delta", delta=delta, usage=counted),
                event("message_stop", tiermesh=receipt_body(receipt)),
            ]
        )

    def error(self, error: MeshError) -> bytes:
        """Returns the event that tells of an answer that failed."""
        body = error_body(self._names.error(error), ANTHROPIC_ERRORS, self._request_id)
        return b"event: error\ndata: %b\n\n" % body

    def _content(self, last: runner_pb2.GenerateReply) -> list[Content]:
        content: list[Content] = []
        if last.reasoning:
            thought = last.reasoning if self._thoughts_shown else ""
            content.append(ThinkingContent(thought, self._thoughts.sign(thought)))
        if last.text:
            content.append(TextContent(last.text))
        for call in last.tool_calls:
            if last.finish_reason == runner_pb2.FINISH_REASON_LENGTH and not call.arguments:
                # It was cut off before them.
                continue
            arguments = _arguments(call.arguments)
            if arguments is None and last.finish_reason == runner_pb2.FINISH_REASON_TOOL_CALLS:
                # It is what the model said, and the conversation can go on after it.
                arguments = {"arguments": call.arguments}
            if arguments is not None:
                content.append(ToolUseContent(call.id, call.name, arguments))
        return content


def _arguments(text: str) -> dict[str, Any] | None:
    """Returns the arguments of a call, or None if they are no object, such as where they were cut off."""
    try:
        return msgspec.json.decode(text or "{}", type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        return None


def _stop(last: runner_pb2.GenerateReply) -> tuple[StopReason, str | None]:
    """Returns why an answer has ended, and by which of the strings that end it, if by one."""
    if last.finish_reason == runner_pb2.FINISH_REASON_STOP and last.stop:
        return "stop_sequence", last.stop
    return _STOP_REASONS[last.finish_reason], None


def _usage(usage: runner_pb2.Usage) -> MessageUsage:
    return MessageUsage(
        input_tokens=usage.prompt_tokens - usage.cached_tokens,
        cache_read_input_tokens=usage.cached_tokens,
        output_tokens=usage.completion_tokens,
        output_tokens_details=OutputTokens(usage.reasoning_tokens),
    )
