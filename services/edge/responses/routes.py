"""The routes of the Responses API."""

from __future__ import annotations

from collections.abc import Sequence

from services.edge.dependencies import Dependencies
from services.edge.paid.delivery import AnswerTokens
from services.edge.responses.endpoint import Responses
from services.edge.responses.input_tokens import InputTokensBody, InputTokensEndpoint
from services.edge.responses.request import ResponsesBody
from services.edge.responses.response_object import (
    InputTokens,
    Response,
    ResponseReasoning,
    ResponseText,
    ResponseUsage,
)
from services.edge.route import METHODS, Operation, Route, event_stream, json_answer, json_body
from services.edge.token_counts.counter import TokenCounter

_EXAMPLE = Response(
    id="resp_0123456789abcdef0123456789abcdef",
    object="response",
    created_at=1798761600,
    status="completed",
    completed_at=1798761601,
    background=False,
    error=None,
    incomplete_details=None,
    instructions=None,
    max_output_tokens=None,
    max_tool_calls=None,
    metadata={},
    model="tiermesh-pro",
    output=[
        {
            "id": "msg_0123456789abcdef0123456789abcdef_0",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "Blue.", "annotations": [], "logprobs": []}],
        }
    ],
    parallel_tool_calls=True,
    previous_response_id=None,
    reasoning=ResponseReasoning(None, None),
    service_tier="default",
    store=False,
    temperature=1.0,
    text=ResponseText({"type": "text"}, "medium"),
    tool_choice="auto",
    tools=[],
    top_logprobs=0,
    top_p=1.0,
    truncation="disabled",
    usage=ResponseUsage(
        input_tokens=11,
        input_tokens_details=InputTokens(0, 0),
        output_tokens=2,
        output_tokens_details=AnswerTokens(0),
        total_tokens=13,
    ),
)
_RESPOND = Operation(
    summary="Answer as OpenAI's Responses API does",
    tag="Text",
    description="Stateless: nothing is kept, so send the whole conversation in `input`.",
    body=json_body(ResponsesBody, {"model": "tiermesh-pro", "input": "Name a colour."}),
    answer={**json_answer(_EXAMPLE), **event_stream()},
    paid=True,
)
_COUNT = Operation(
    summary="Count the tokens of a response's input",
    tag="Text",
    description="Not charged. The count is the `usage.input_tokens` of the response that the same body would get.",
    body=json_body(ResponsesBody, {"model": "tiermesh-pro", "input": "Name a colour."}),
    answer=json_answer(InputTokensBody("response.input_tokens", 11)),
    may_be_missing=True,
)


def routes(edge: Dependencies) -> Sequence[Route]:
    """Returns the routes of responses and their counts, and those that would lead to earlier responses."""
    responses = Responses(edge.path, edge.image_loader, edge.settings, edge.clock)
    respond = Route(
        method="POST",
        path="/responses",
        name="responses",
        scope="chat",
        handler=responses.serve,
        operation=_RESPOND,
    )
    count = Route(
        method="POST",
        path="/responses/input_tokens",
        name="input_tokens",
        scope="chat",
        handler=InputTokensEndpoint(edge.path, edge.image_loader, TokenCounter(edge.mesh, edge.path)).serve,
        operation=_COUNT,
    )
    compact = Route(method="POST", path="/responses/compact", name="response", scope="chat", handler=responses.compact)
    stored = [
        Route(method=method, path="/responses/{tail:.+}", name="response", scope="chat", handler=responses.stored)
        for method in METHODS
    ]
    return [respond, count, compact, *stored]
