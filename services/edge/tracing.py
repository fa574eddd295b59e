"""What the span of an API request says, in the words of OpenTelemetry's conventions for HTTP.

https://opentelemetry.io/docs/specs/semconv/http/http-spans/
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from services.common.telemetry.logs import get_logger
from services.common.telemetry.tracing import CANCELLED, Span, Tracing
from services.edge.context import RequestContext

log = get_logger()

# The status that is counted for a client that left.
CLIENT_LEFT: Final = 499


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
