"""What is noted of the calls that a batch server gets: a line in the log, and a span for each that is traced.

Traced calls, of which there are as many as sampling lets through, are logged at level info, all others at debug.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from services.common.errors import Code
from services.common.telemetry.logs import get_logger
from services.common.telemetry.tracing import CANCELLED, Span, Tracing

log = get_logger()


def _nothing(_item: Any, _span: Span) -> None:
    pass


def _always(_reply: Any) -> bool:
    return True


def _is_verbose() -> bool:
    return bool(log.is_enabled_for(logging.DEBUG))


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """How the calls of one rpc are noted. The describing functions set attributes of the call's span."""

    tracing: Tracing | None = None
    # Returns the API request that a call belongs to.
    request_id: Callable[[Any], str] = attrgetter("request_id")
    describe_call: Callable[[Any, Span], None] = _nothing
    describe_reply: Callable[[Any, Span], None] = _nothing
    # Tells whether a reply ends its call.
    is_last: Callable[[Any], bool] = _always

    @property
    def wanted(self) -> bool:
        """Whether anything is noted at all."""
        return self.tracing is not None or _is_verbose()

    def request_ids(self, calls: Sequence[Any]) -> list[str]:
        """Returns the API requests of some calls."""
        return [self.request_id(call) for call in calls]


class CallNotes:
    """The notes about the calls of one stream."""

    def __init__(self, stream: str, notes: Notes) -> None:
        self._stream = stream
        self._notes = notes
        self._verbose = _is_verbose()
        # The spans of the calls that have not been answered, and which of them have got a first reply.
        self._spans: dict[int, Span] = {}
        self._begun: set[int] = set()

    def received(self, calls: Sequence[Any]) -> None:
        """Notes that calls have come."""
        for call in calls:
            if self._notes.tracing is not None and call.HasField("trace"):
                self._begin(self._notes.tracing, call)
            elif self._verbose:
                log.debug("call_received", stream=self._stream, request_id=self._notes.request_id(call))

    def replied(self, reply: Any) -> None:
        """Notes a reply."""
        if not self._spans or (span := self._spans.get(reply.id)) is None:
            return
        if reply.HasField("error"):
            self._end(reply.id, Code(reply.error.code).name)
        elif self._notes.is_last(reply):
            self._notes.describe_reply(reply, span)
            self._end(reply.id)
        elif reply.id not in self._begun:
            self._begun.add(reply.id)
            span.event("first_reply")

    def cancelled(self, call_id: int) -> None:
        """Notes that the client has withdrawn a call."""
        self._end(call_id, CANCELLED)

    def closed(self) -> None:
        """Notes that the stream has ended, and with it what was not answered."""
        for call_id in list(self._spans):
            self._end(call_id, CANCELLED)

    def _begin(self, tracing: Tracing, call: Any) -> None:
        request_id = self._notes.request_id(call)
        span = self._spans[call.id] = tracing.call(self._stream, call.trace)
        span.set("tiermesh.request_id", request_id)
        self._notes.describe_call(call, span)
        log.info("call_received", stream=self._stream, request_id=request_id, trace_id=span.trace_id)

    def _end(self, call_id: int, error: str = "") -> None:
        self._begun.discard(call_id)
        span = self._spans.pop(call_id, None)
        if span is not None:
            span.end(error)
