"""The caller or the ratio decides what is recorded."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from services.common.errors import Code, MeshError
from services.common.telemetry.open_telemetry import OtlpTracing
from services.common.telemetry.tracing import context_of, error_name, step

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
SAMPLED = {"traceparent": f"00-{TRACE_ID}-00f067aa0ba902b7-01", "tracestate": "vendor=value"}
UNSAMPLED = {"traceparent": f"00-{TRACE_ID}-00f067aa0ba902b7-00"}


@pytest.fixture
async def never() -> AsyncIterator[OtlpTracing]:
    """Records nothing by itself."""
    tracing = OtlpTracing("tiermesh-edge", 0.0)
    yield tracing
    await tracing.close()


@pytest.fixture
async def always() -> AsyncIterator[OtlpTracing]:
    """Records everything by itself."""
    tracing = OtlpTracing("tiermesh-edge", 1.0)
    yield tracing
    await tracing.close()


async def test_the_client_decides(never: OtlpTracing, always: OtlpTracing) -> None:
    span = never.request("GET /", SAMPLED)
    assert span is not None
    assert span.trace_id == TRACE_ID
    assert always.request("GET /", UNSAMPLED) is None


@pytest.mark.parametrize("headers", [{}, {"traceparent": ""}, {"traceparent": "00-zz-1-01"}, {"tracestate": "a=b"}])
async def test_without_a_good_context_the_ratio_decides(
    never: OtlpTracing, always: OtlpTracing, headers: dict[str, str]
) -> None:
    assert never.request("GET /", headers) is None
    span = always.request("GET /", headers)
    assert span is not None
    assert span.trace_id != TRACE_ID


async def test_calls_carry_the_context_of_their_step(never: OtlpTracing) -> None:
    request = never.request("GET /", SAMPLED)
    with step(request, "reserve") as span:
        context = context_of(span)
    assert context is not None
    version, trace_id, parent, flags = context.traceparent.split("-")
    assert (version, trace_id, flags, context.tracestate) == ("00", TRACE_ID, "01", "vendor=value")
    assert parent not in SAMPLED["traceparent"]
    # The other service goes on in the same trace.
    assert never.call("transact", context).trace_id == TRACE_ID


def test_a_request_that_is_not_traced_has_no_steps() -> None:
    with step(None, "reserve") as span:
        assert context_of(span) is None


def test_errors_are_named_without_their_messages() -> None:
    assert error_name(None) == ""
    assert error_name(MeshError(Code.UNAVAILABLE, "secret")) == "UNAVAILABLE"
    assert error_name(ValueError("secret")) == "ValueError"
