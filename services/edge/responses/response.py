"""Renders responses: whole bodies and the events of streams, as JSON bytes."""

from __future__ import annotations

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from services.common.clock import Clock
from services.common.errors import Code, MeshError
from services.common.text_steps import AnyReply
from services.edge.chat.response import SERVICE_TIER
from services.edge.paid.delivery import Finished, receipt_body, usage_body
from services.edge.paid.hold import Receipt
from services.edge.responses.items import Event
from services.edge.responses.offered_tools import OfferedTools
from services.edge.responses.output import ResponseOutput
from services.edge.responses.request import ResponsesBody, TextFormat
from services.edge.responses.response_object import (
    IncompleteDetails,
    InputTokens,
    Response,
    ResponseError,
    ResponseReasoning,
    ResponseText,
    ResponseUsage,
)
from services.edge.responses.translation import Translation
from tiermesh.runner.v1 import runner_pb2

# OpenAI knows few codes for a response that failed; anything else is the server's fault.
_CODES = {
    Code.INVALID_REQUEST: "invalid_prompt",
    Code.CONTEXT_LENGTH_EXCEEDED: "invalid_prompt",
    Code.RATE_LIMITED: "rate_limit_exceeded",
}


class ResponseRenderer:
    """Renders one answer. `clock` gives seconds since 1970."""

    def __init__(self, identity: str, model: str, body: ResponsesBody, translation: Translation, clock: Clock) -> None:
        """`identity` makes the ids of the response and its items; `translation` is that of the body."""
        self._clock = clock
        self._names = translation.names
        self._response = _response(f"resp_{identity}", model, int(clock()), body, translation.tools)
        self._output = ResponseOutput(identity, translation.tools.called, summarised=body.summarised)
        self._sequence_number = 0

    def body(self, replies: list[runner_pb2.GenerateReply]) -> bytes:
        """Returns the whole body; `replies` holds the last reply of the one choice."""
        self._output.take(replies[0])
        ended, _ = self._end(replies[0])
        return msgspec.json.encode(ended)

    def open(self) -> bytes:
        """Returns the events that precede the output."""
        return self._events(
            [
                {"type": "response.created", "response": self._response},
                {"type": "response.in_progress", "response": self._response},
            ]
        )

    def step(self, choice: int, reply: AnyReply) -> bytes:  # noqa: ARG002 - there is only one choice
        """Returns the events for one step, empty if it shows nothing."""
        return self._events(self._output.take(reply))

    def end(self, finished: Finished, receipt: Receipt) -> bytes:
        """Returns the events that end the last item and the response, which says what it has cost."""
        ended, events = self._end(finished[0])
        ended = replace(ended, tiermesh=receipt_body(receipt))
        return self._events([*events, {"type": f"response.{ended.status}", "response": ended}])

    def error(self, error: MeshError) -> bytes:
        """Returns the event that tells of a response that failed; the item at hand is not part of it."""
        error = self._names.error(error)
        told = ResponseError(_CODES.get(error.code, "server_error"), error.message, error.param or None)
        failed = replace(self._response, status="failed", error=told, output=self._output.items)
        return self._events([{"type": "response.failed", "response": failed}])

    def _end(self, last: runner_pb2.GenerateReply) -> tuple[Response, list[Event]]:
        """Ends the output; returns the whole response and the events of its last item."""
        cut = last.finish_reason == runner_pb2.FINISH_REASON_LENGTH
        # An answer that ends with whole calls says so: with any other reason, the last call is unfinished.
        unfinished = self._output.in_call and last.finish_reason != runner_pb2.FINISH_REASON_TOOL_CALLS
        events = self._output.finish("incomplete" if cut or unfinished else "completed")
        ended = replace(
            self._response,
            status="incomplete" if cut else "completed",
            completed_at=None if cut else int(self._clock()),
            # OpenAI has no other name for a context that is full.
            incomplete_details=IncompleteDetails("max_output_tokens") if cut else None,
            output=self._output.items,
            usage=_usage(last.usage),
        )
        return ended, events

    def _events(self, events: list[Event]) -> bytes:
        return b"".join(self._event(event) for event in events)

    def _event(self, event: Event) -> bytes:
        data = msgspec.json.encode({**event, "sequence_number": self._sequence_number})
        self._sequence_number += 1
        return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), data)


def _response(response_id: str, model: str, created: int, body: ResponsesBody, tools: OfferedTools) -> Response:
    """Returns the response as it is before anything was generated, with what was asked and the defaults for the rest.

    `store`, `truncation` and `service_tier` say what is done, whatever was asked: nothing is kept or cut, and there is
    one tier of service.
    """
    return Response(
        id=response_id,
        object="response",
        created_at=created,
        status="in_progress",
        completed_at=None,
        background=False,
        error=None,
        incomplete_details=None,
        instructions=body.instructions,
        max_output_tokens=body.max_output_tokens,
        max_tool_calls=body.max_tool_calls,
        metadata=body.metadata or {},
        model=model,
        output=[],
        parallel_tool_calls=body.parallel_tool_calls is not False,
        previous_response_id=None,
        reasoning=_reasoning(body),
        service_tier=SERVICE_TIER,
        store=False,
        temperature=1.0 if body.temperature is None else body.temperature,
        text=_text(body),
        tool_choice=body.tool_choice or "auto",
        tools=tools.used,
        top_logprobs=body.top_logprobs or 0,
        top_p=1.0 if body.top_p is None else body.top_p,
        truncation="disabled",
        presence_penalty=body.presence_penalty or 0.0,
        frequency_penalty=body.frequency_penalty or 0.0,
        prompt_cache_key=body.prompt_cache_key,
        safety_identifier=body.safety_identifier,
        user=UNSET if body.user is None else body.user,
    )


def _reasoning(body: ResponsesBody) -> ResponseReasoning:
    wanted = body.reasoning
    if wanted is None:
        return ResponseReasoning(None, None)
    return ResponseReasoning(wanted.effort, wanted.summary or wanted.generate_summary)


def _text(body: ResponsesBody) -> ResponseText:
    wanted = (body.text.format if body.text else None) or TextFormat()
    shape = msgspec.to_builtins(wanted) if wanted.type == "json_schema" else {"type": wanted.type or "text"}
    return ResponseText(shape, (body.text.verbosity if body.text else None) or "medium")


def _usage(usage: runner_pb2.Usage) -> ResponseUsage:
    counted = usage_body([usage])
    return ResponseUsage(
        input_tokens=counted.prompt_tokens,
        input_tokens_details=InputTokens(counted.prompt_tokens_details.cached_tokens, 0),
        output_tokens=counted.completion_tokens,
        output_tokens_details=counted.completion_tokens_details,
        total_tokens=counted.total_tokens,
    )
