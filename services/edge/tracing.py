"""What the spans of an API request say, in the words of OpenTelemetry's conventions for HTTP and generative AI.

https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from aiohttp import web

from services.common.catalog import Kind, Model
from services.common.telemetry.logs import get_logger
from services.common.telemetry.tracing import CANCELLED, Span, Tracing
from services.edge.context import RequestContext
from services.edge.paid.hold import Outcome, Work
from tiermesh.billing.v1 import billing_pb2
from tiermesh.runner.v1.runner_pb2 import GenerateCall

log = get_logger()

# The status that is counted for a client that left.
CLIENT_LEFT: Final = 499

_OPERATIONS: Mapping[Kind, str] = {"chat": "chat", "embedding": "embeddings"}


def begin_request(tracing: Tracing, request: web.Request, context: RequestContext) -> Span | None:
    """Begins the span of a request, if it is to be recorded."""
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else ""
    span = tracing.request(f"{request.method} {route}", request.headers)
    if span is not None:
        span.set("http.request.method", request.method)
        span.set("http.route", route)
        span.set("tiermesh.request_id", context.request_id)
    return span


def begin_generation(context: RequestContext, model: Model, calls: Sequence[GenerateCall]) -> Span | None:
    """Begins the span of generating an answer, which its calls carry to the runner; None if it is not traced."""
    if context.trace is None:
        return None
    span = context.trace.child("generate")
    operation = "text_completion" if calls[0].HasField("completion") else _OPERATIONS.get(model.kind)
    for each in (context.trace, span):
        each.set("gen_ai.operation.name", operation or "generate_content")
        each.set("gen_ai.provider.name", "tiermesh")
        each.set("gen_ai.request.model", model.id)
        each.set("tiermesh.tier", model.tier)
    if len(calls) > 1:
        span.set("gen_ai.request.choice.count", len(calls))
    for call in calls:
        call.trace.CopyFrom(span.context())
    return span


def end_generation(span: Span, outcome: Outcome, work: Work) -> None:
    """Ends that span; only the first end counts."""
    name = billing_pb2.Outcome.Name(outcome).removeprefix("OUTCOME_").lower()
    span.set("tiermesh.outcome", name)
    span.set("tiermesh.runner.id", work.runner_id)
    span.set("gen_ai.usage.input_tokens", work.prompt_tokens)
    span.set("gen_ai.usage.output_tokens", work.completion_tokens)
    complete = outcome in {billing_pb2.OUTCOME_COMPLETED, billing_pb2.OUTCOME_EMPTY}
    span.end("" if complete else name)


def note_end(context: RequestContext, route: str, status: int, seconds: float) -> None:
    """Ends the span of a request, if it has one, and logs it."""
    fields = {"request_id": context.request_id, "route": route, "model": context.model, "status": status}
    if context.trace is not None:
        context.trace.set("http.response.status_code", status)
        failed = CANCELLED if status == CLIENT_LEFT else str(status) if status >= 500 else ""
        context.trace.end(failed)
        fields["trace_id"] = context.trace.trace_id
    if status >= 500:
        log.warning("request_not_served", **fields, seconds=round(seconds, 3))
    elif context.trace is not None:
        log.info("request_answered", **fields, seconds=round(seconds, 3))
    else:
        log.debug("request_answered", **fields, seconds=round(seconds, 3))
