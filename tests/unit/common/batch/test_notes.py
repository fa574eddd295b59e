"""What is noted of calls: at level debug each request's id, and of traced ones a span that always ends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from services.common.batch.notes import CallNotes, Notes
from services.common.errors import Code, MeshError
from services.common.telemetry.open_telemetry import OtlpTracing
from tiermesh.common.v1.trace_pb2 import TraceContext
from tiermesh.runner.v1.runner_pb2 import FINISH_REASON_STOP, GenerateCall, GenerateReply

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACE = TraceContext(traceparent=f"00-{TRACE_ID}-00f067aa0ba902b7-01")
DELTA, LAST = GenerateReply(id=1, text="a"), GenerateReply(id=1, finish_reason=FINISH_REASON_STOP)


@dataclass
class BatchStream:
    """The notes of one session, and the spans that have ended."""

    notes: CallNotes
    exported: InMemorySpanExporter

    @property
    def ended(self) -> list[tuple[Any, list[str]]]:
        """What each span failed of, and its events."""
        spans = self.exported.get_finished_spans()
        return [((span.attributes or {}).get("error.type"), [each.name for each in span.events]) for span in spans]


@pytest.fixture
async def stream() -> AsyncIterator[BatchStream]:
    tracing, exported = OtlpTracing("tiermesh-runner", 0.0), InMemorySpanExporter()
    tracing._provider.add_span_processor(SimpleSpanProcessor(exported))
    notes = Notes(tracing=tracing, is_last=lambda reply: reply.finish_reason != 0)
    stream = BatchStream(CallNotes("generate", notes), exported)
    stream.notes.received([GenerateCall(id=1, request_id="req_1", trace=TRACE), GenerateCall(id=2)])
    yield stream
    await tracing.close()


def test_the_last_reply_ends_a_span(stream: BatchStream) -> None:
    stream.notes.replied(DELTA)
    stream.notes.replied(DELTA)
    assert stream.ended == []
    stream.notes.replied(LAST)
    stream.notes.closed()
    assert stream.ended == [(None, ["first_reply"])]
    (span,) = stream.exported.get_finished_spans()
    assert span.attributes == {"tiermesh.request_id": "req_1"}
    assert f"{span.context.trace_id:032x}" == TRACE_ID


def test_an_error_ends_a_span(stream: BatchStream) -> None:
    stream.notes.replied(GenerateReply(id=1, error=MeshError(Code.OVERLOADED, "secret").to_proto()))
    assert stream.ended == [("OVERLOADED", [])]


def test_a_withdrawn_call_ends_its_span(stream: BatchStream) -> None:
    stream.notes.cancelled(1)
    # The reply may have crossed with it.
    stream.notes.replied(LAST)
    assert stream.ended == [("cancelled", [])]


def test_the_end_of_a_session_ends_its_spans(stream: BatchStream) -> None:
    stream.notes.closed()
    assert stream.ended == [("cancelled", [])]


async def test_traced_calls_are_logged_with_both_ids(capsys: pytest.CaptureFixture[str], stream: BatchStream) -> None:
    (line,) = [line for line in capsys.readouterr().out.splitlines() if TRACE_ID in line]
    assert "req_1" in line


def test_nothing_is_wanted_without_tracing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.common.batch.notes._is_verbose", lambda: False)
    assert not Notes().wanted
