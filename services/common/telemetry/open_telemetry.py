"""Tracing by OpenTelemetry, exported by OTLP over gRPC. Imported only if it is on: it takes 4 MB.

Where spans go is said by OpenTelemetry's own variables, such as OTEL_EXPORTER_OTLP_ENDPOINT:
https://opentelemetry.io/docs/specs/otel/protocol/exporter/.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from services.common.telemetry.tracing import Value, error_name
from services.common.version import VERSION
from tiermesh.common.v1.trace_pb2 import TraceContext

_W3C = TraceContextTextMapPropagator()
# Seconds for sending the last spans; a collector that is away must not hold up the end of a process.
_CLOSE_SECONDS = 3.0


class OtlpTracing:
    """Sends spans in batches, from a thread of its own. What a collector that is away misses is lost."""

    def __init__(self, service: str, ratio: float) -> None:
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(ratio)),
            resource=Resource.create({"service.name": service, "service.version": VERSION}),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("tiermesh", VERSION)

    def request(self, name: str, headers: Mapping[str, str]) -> OtlpSpan | None:
        """Begins the span of an HTTP request, under that of its W3C headers; None if it is not to be recorded."""
        parent = _context(headers.get("traceparent", ""), headers.get("tracestate", ""))
        span = self._tracer.start_span(name, context=parent, kind=trace.SpanKind.SERVER)
        return OtlpSpan(self._tracer, span) if span.is_recording() else None

    def call(self, name: str, context: TraceContext) -> OtlpSpan:
        """Begins the span of a call that another part of the mesh has made."""
        parent = _context(context.traceparent, context.tracestate)
        return OtlpSpan(self._tracer, self._tracer.start_span(name, context=parent, kind=trace.SpanKind.SERVER))

    async def close(self) -> None:
        """Sends what has not been sent, for a few seconds at most."""
        closed = asyncio.Event()
        loop = asyncio.get_running_loop()

        def shut_down() -> None:
            self._provider.shutdown()
            if not loop.is_closed():
                loop.call_soon_threadsafe(closed.set)

        # A daemon, because the loop waits at its end for the threads of its own executor.
        threading.Thread(target=shut_down, daemon=True).start()
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await closed.wait()
        except TimeoutError:
            pass


class OtlpSpan:
    """One step of a traced request."""

    __slots__ = ("_span", "_tracer")

    def __init__(self, tracer: trace.Tracer, span: trace.Span) -> None:
        self._tracer = tracer
        self._span = span

    @property
    def trace_id(self) -> str:
        """The trace that it belongs to: 32 hexadecimal digits."""
        return trace.format_trace_id(self._span.get_span_context().trace_id)

    def child(self, name: str) -> OtlpSpan:
        """Begins a step of this step, which another part of the mesh carries out."""
        context = trace.set_span_in_context(self._span, Context())
        return OtlpSpan(self._tracer, self._tracer.start_span(name, context=context, kind=trace.SpanKind.CLIENT))

    def set(self, name: str, value: Value) -> None:
        """Sets an attribute."""
        if self._span.is_recording():
            self._span.set_attribute(name, value)

    def event(self, name: str) -> None:
        """Notes that something happened at this moment."""
        if self._span.is_recording():
            self._span.add_event(name)

    def context(self) -> TraceContext:
        """Returns what marks a call as made by this step."""
        headers: dict[str, str] = {}
        _W3C.inject(headers, trace.set_span_in_context(self._span, Context()))
        return TraceContext(**headers)

    def end(self, error: str = "") -> None:
        """Ends the step; only the first end counts."""
        if not self._span.is_recording():
            return
        if error:
            self._span.set_attribute("error.type", error)
            self._span.set_status(trace.StatusCode.ERROR)
        self._span.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(error_name(error))


def _context(traceparent: str, tracestate: str) -> Context:
    return _W3C.extract({"traceparent": traceparent, "tracestate": tracestate}, Context())
