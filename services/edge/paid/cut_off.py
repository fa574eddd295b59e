"""Ends the requests that are still in progress when an edge has to stop: the client is told, and pays nothing.

Every request passes here several times, so what is used by `with` is a class: a generator costs three times as much.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType

from services.common.errors import Code, MeshError

# How each request in progress is ended; a dict, because it keeps their order.
_Ends = dict[Callable[[MeshError], None], None]


class _Over(_Ends):
    """What there is once all have been ended: nothing may begin any more, since nobody would end it."""

    def __setitem__(self, end: Callable[[MeshError], None], _: None) -> None:
        raise _stopping()


class CutOff:
    """Knows how to end each request in progress."""

    def __init__(self) -> None:
        # Each request keeps the one that it is in.
        self._ends: _Ends = {}

    def now(self) -> None:
        """Ends all of them, each with an error that its client sees.

        Requests that come to such a place later get the same error: those that have been authenticated or have sent
        their body meanwhile.
        """
        ends, self._ends = self._ends, _Over()
        for end in list(ends):
            end(_stopping())

    def add(self, end: Callable[[MeshError], None]) -> None:
        """Has a request ended by `end` from now on."""
        self._ends[end] = None

    def remove(self, end: Callable[[MeshError], None]) -> None:
        """Leaves a request alone from now on. Idempotent, and harmless before `add`."""
        self._ends.pop(end, None)

    def while_waiting(self) -> AbstractContextManager[None]:
        """Raises MeshError UNAVAILABLE inside, wherever it waits."""
        return _WhileWaiting(self._ends)


class _WhileWaiting(AbstractContextManager[None]):
    """Cancels the task that waits inside, as asyncio.timeout does, and tells that from other cancellations."""

    __slots__ = ("_cancelled_before", "_ends", "_error", "_task")

    def __init__(self, ends: _Ends) -> None:
        self._ends = ends
        self._error: MeshError | None = None

    def __enter__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("only a task can wait")
        self._task = task
        self._cancelled_before = task.cancelling()
        self._ends[self._cut] = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self._ends[self._cut]
        if self._error is None:
            return
        # Others may have cancelled the task as well: that counts for more.
        alone = self._task.uncancel() <= self._cancelled_before
        if alone and isinstance(error, asyncio.CancelledError):
            raise self._error from None

    def _cut(self, error: MeshError) -> None:
        if self._error is None:
            self._error = error
            self._task.cancel()


def _stopping() -> MeshError:
    return MeshError(Code.UNAVAILABLE, "The service is being restarted; try again shortly.", retry_after=1.0)
