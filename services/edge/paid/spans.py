"""What the span of generating an answer says, in the words of OpenTelemetry's conventions for generative AI.

https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from services.common.catalog import Kind, Model
from services.common.telemetry.tracing import Span
from services.edge.context import RequestContext
from services.edge.paid.hold import Outcome, TokenCounts
from tiermesh.billing.v1 import billing_pb2
from tiermesh.runner.v1.runner_pb2 import GenerateCall

_OPERATIONS: Mapping[Kind, str] = {"chat": "chat", "embedding": "embeddings"}


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
    # Choices may share their call; to write the same twice does no harm.
    for call in calls:
        call.trace.CopyFrom(span.context())
    return span


def end_generation(span: Span, outcome: Outcome, counts: TokenCounts) -> None:
    """Ends that span; only the first end counts."""
    name = billing_pb2.Outcome.Name(outcome).removeprefix("OUTCOME_").lower()
    span.set("tiermesh.outcome", name)
    span.set("tiermesh.runner.id", counts.runner_id)
    span.set("gen_ai.usage.input_tokens", counts.prompt_tokens)
    span.set("gen_ai.usage.output_tokens", counts.completion_tokens)
    complete = outcome in {billing_pb2.OUTCOME_COMPLETED, billing_pb2.OUTCOME_EMPTY}
    span.end("" if complete else name)
