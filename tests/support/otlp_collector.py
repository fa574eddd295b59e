"""An OpenTelemetry collector: the real OTLP protocol over gRPC, keeping what it gets in memory."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1 import trace_pb2

from tests.support.ports import free_address


@dataclass(frozen=True)
class ReceivedSpan:
    """One span, with ids in hexadecimal digits."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    trace_state: str
    attributes: dict[str, Any]
    events: list[str]
    failed: bool


class OtlpCollector(trace_service_pb2_grpc.TraceServiceServicer):
    """`with` starts and stops it; it may be stopped and started again at the same address. No event loop is needed."""

    def __init__(self) -> None:
        self.address = free_address()
        self.spans: list[ReceivedSpan] = []
        # Every message as it came, to look for what must not be there.
        self.raw: list[bytes] = []

    @property
    def environ(self) -> dict[str, str]:
        """OpenTelemetry's variables that send spans here, soon."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{self.address}", "OTEL_BSP_SCHEDULE_DELAY": "100"}

    def start(self) -> None:
        """Listens."""
        self._server = grpc.server(ThreadPoolExecutor(4))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, self._server)  # type: ignore[no-untyped-call] # generated without types
        assert self._server.add_insecure_port(self.address)
        self._server.start()

    def stop(self) -> None:
        """Stops listening."""
        self._server.stop(grace=None).wait()

    def of_trace(self, trace_id: str) -> list[ReceivedSpan]:
        """Returns the spans of one trace."""
        return [span for span in list(self.spans) if span.trace_id == trace_id]

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC names methods in upper camel case
        self.raw.append(request.SerializeToString())
        for of_resource in request.resource_spans:
            service = _attributes(of_resource.resource.attributes)["service.name"]
            for of_scope in of_resource.scope_spans:
                self.spans += [_span(service, span) for span in of_scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _span(service: str, span: Any) -> ReceivedSpan:
    return ReceivedSpan(
        service,
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.trace_state,
        _attributes(span.attributes),
        [event.name for event in span.events],
        span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
    )


def _attributes(attributes: Iterable[Any]) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
