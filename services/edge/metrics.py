"""What the edge counts. Labels have few values: routes and catalog models, never anything a client chooses freely.

This is the hottest path of the mesh: labels are looked up once, and nothing is observed for each token.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from prometheus_client import Gauge

from services.common.errors import Code
from services.common.telemetry.metrics import Count, Counter, Distribution, Histogram, Summary

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_SHORT_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)

REQUESTS = Counter("tiermesh_edge_requests_total", "Requests answered.", ["route", "model", "status"])
IN_FLIGHT = Gauge("tiermesh_edge_requests_in_flight", "Requests being served.")
BODY_BYTES = Gauge("tiermesh_edge_body_bytes", "Memory that the bodies of requests being served take.")
FIRST_TOKEN = Histogram(
    "tiermesh_edge_time_to_first_token_seconds",
    "From the request to the first token of a chat.",
    ["model"],
    buckets=_SECONDS,
)
OUTPUT_TOKEN = Histogram(
    "tiermesh_edge_time_per_output_token_seconds",
    "Mean time between the tokens of one chat, after its first.",
    ["model"],
    buckets=_SHORT_SECONDS,
)
DURATION = Histogram("tiermesh_edge_request_seconds", "From the request to its end.", ["route"], buckets=_SECONDS)
OVERHEAD = Histogram(
    "tiermesh_edge_overhead_seconds",
    "What the mesh itself added to a paid request: its stages, without waiting for a free slot.",
    buckets=_SHORT_SECONDS,
).labels()
STAGE = Summary("tiermesh_edge_stage_seconds", "Time in one stage of a paid request.", ["stage"])
TOKENS = Counter("tiermesh_edge_tokens_total", "Tokens of paid answers.", ["model", "kind"])
REJECTIONS = Counter("tiermesh_edge_rejections_total", "Requests that were not served, by why.", ["reason"])
DISCONNECTS = Counter(
    "tiermesh_edge_disconnects_total", "Clients that left before their answer was complete.", ["when"]
)
RECEIVED_BYTES = Counter("tiermesh_edge_received_bytes_total", "Bytes of request bodies.", ["route"])
SENT_BYTES = Counter("tiermesh_edge_sent_bytes_total", "Bytes of complete responses.", ["route"])

AUTHENTICATE = STAGE.labels("authenticate")
PLACE = STAGE.labels("place")
RESERVE = STAGE.labels("reserve")
SETTLE = STAGE.labels("settle")

LEFT_EARLY = DISCONNECTS.labels("before_first_token")
LEFT_LATE = DISCONNECTS.labels("after_first_token")

_REASONS = {
    Code.UNAUTHENTICATED: "unauthenticated",
    Code.PERMISSION_DENIED: "forbidden",
    Code.RATE_LIMITED: "rate_limited",
    Code.INSUFFICIENT_CREDITS: "no_credits",
    Code.OVERLOADED: "queue_full",
    Code.DEADLINE_EXCEEDED: "unavailable",
    Code.UNAVAILABLE: "unavailable",
    Code.INTERNAL: "internal",
}
# Of a body for which there is no memory now.
NO_MEMORY = "no_memory"
# What the same codes mean when the router says them.
_ROUTER_REASONS = {Code.UNAVAILABLE: "no_runner", Code.DEADLINE_EXCEEDED: "queue_timeout"}


def reason_of(code: Code, *, placing: bool = False) -> str:
    """Returns the reason to count for a refusal; `placing` says that it came of asking for a runner."""
    reason = _ROUTER_REASONS.get(code) if placing else None
    return reason or _REASONS.get(code, "bad_request")


# All from the start, so that the first rejection of a kind is an increase and not a new series.
for _reason in {"bad_request", NO_MEMORY, *_REASONS.values(), *_ROUTER_REASONS.values()}:
    REJECTIONS.labels(_reason)


class ModelMetrics(NamedTuple):
    """The metrics of one model."""

    first_token: Distribution
    output_token: Distribution
    prompt_tokens: Count
    completion_tokens: Count


@cache
def of_model(model: str) -> ModelMetrics:
    """Returns the metrics of a catalog model; there are few."""
    return ModelMetrics(
        FIRST_TOKEN.labels(model),
        OUTPUT_TOKEN.labels(model),
        TOKENS.labels(model, "prompt"),
        TOKENS.labels(model, "completion"),
    )


class RouteMetrics:
    """The metrics of one route."""

    def __init__(self, route: str) -> None:
        self._route = route
        self._duration = DURATION.labels(route)
        self._received = RECEIVED_BYTES.labels(route)
        self._sent = SENT_BYTES.labels(route)
        self._requests: dict[tuple[str, int], Count] = {}

    def answered(self, model: str, status: int, seconds: float, *, received: int, sent: int) -> None:
        """Counts one answer; `received` and `sent` are bytes, `model` is empty where none was asked for or known."""
        counter = self._requests.get((model, status))
        if counter is None:
            counter = self._requests[model, status] = REQUESTS.labels(self._route, model, str(status))
        counter.inc()
        self._duration.observe(seconds)
        if received:
            self._received.inc(received)
        if sent:
            self._sent.inc(sent)
