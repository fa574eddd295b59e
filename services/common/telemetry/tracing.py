"""Distributed tracing, off by default: what the services know of it. OpenTelemetry itself is loaded only if it is on.

No span ever carries a prompt, an answer, a key, or who sent or pays for a request: who may read traces is often not who
may read those.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Protocol, Self, TypeAlias

from services.common.errors import MeshError
from tiermesh.common.v1.trace_pb2 import TraceContext

Value: TypeAlias = str | bool | int | float | Sequence[str]

# How an error is called that says nothing of itself.
CANCELLED = "cancelled"


class Span(Protocol):
    """One step of a traced request. Used as a context manager it ends with the block, by its error if there is one."""

    @property
    def trace_id(self) -> str:
        """The trace that it belongs to: 32 hexadecimal digits."""

    def child(self, name: str) -> Span:
        """Begins a step of this step, which another part of the mesh carries out."""

    def set(self, name: str, value: Value) -> None:
        """Sets an attribute; after `end` it does nothing."""

    def event(self, name: str) -> None:
        """Notes that something happened at this moment; after `end` it does nothing."""

    def context(self) -> TraceContext:
        """Returns what marks a call as made by this step."""

    def end(self, error: str = "") -> None:
        """Ends the step, `error` being what it failed of: a code, never a message. Only the first end counts."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Tracing(Protocol):
    """Begins spans and sends them away when they have ended, without ever making a request wait."""

    def request(self, name: str, headers: Mapping[str, str]) -> Span | None:
        """Begins the span of an HTTP request, under that of its W3C headers; None if it is not to be recorded."""

    def call(self, name: str, context: TraceContext) -> Span:
        """Begins the span of a call that another part of the mesh has made."""

    async def close(self) -> None:
        """Sends what has not been sent, for a few seconds at most."""


_NO_STEP: AbstractContextManager[None] = nullcontext()


def step(parent: Span | None, name: str) -> AbstractContextManager[Span | None]:
    """Returns a step of a request to be used by `with`; where the request is not traced, one that does nothing."""
    return _NO_STEP if parent is None else parent.child(name)


def context_of(span: Span | None) -> TraceContext | None:
    """Returns what marks a call as made by a step, if there is one."""
    return None if span is None else span.context()


def error_name(error: BaseException | None) -> str:
    """Returns what an exception is called in a span: never its message, which may quote what a client has sent."""
    if error is None:
        return ""
    return error.code.name if isinstance(error, MeshError) else type(error).__name__
