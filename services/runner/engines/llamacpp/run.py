"""One job of the llama.cpp engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from services.common.errors import Code, MeshError
from services.common.logs import get_logger
from services.runner.engines.base import Emit
from services.runner.engines.llamacpp.events import EventReader
from services.runner.job import Step

log = get_logger()
# Hands an event, or None after the last one, from a worker thread to the event loop.
Post = Callable[["Run", bytes | None], None]


class Run:
    """A running job, which is also its ticket. `work` runs on a worker thread, everything else on the event loop's."""

    def __init__(self, body: bytes, reader: EventReader, emit: Emit, forget: Callable[[Run], None]) -> None:
        self._body = body
        self._reader = reader
        # None once the job has ended.
        self._emit: Emit | None = emit
        self._forget = forget

    def cancel(self) -> None:
        """Ends the job without another word; llama.cpp learns it when it next reports, after one batch at most."""
        if self._emit is not None:
            self._emit = None
            self._forget(self)

    def work(self, server: Any, post: Post) -> None:
        """Generates; llama.cpp calls back with each event, and stops if told so."""

        def on_event(raw: bytes) -> bool:
            post(self, raw)
            return self._emit is None

        try:
            if self._emit is not None:
                server.handle_completions(self._body, on_event)
        except Exception as error:  # noqa: BLE001 - whatever the extension raises ends this job and no other
            # Only its type is logged: its text may quote the request.
            log.warning("llamacpp_failed", error=type(error).__name__)
        finally:
            post(self, None)

    def handle(self, raw: bytes | None) -> None:
        """Takes one event, in order; None means that no more will come."""
        if self._emit is None:
            return
        if raw is None:
            self.end(MeshError(Code.INTERNAL, "the engine ended without an answer; try again"))
            return
        try:
            step = self._reader.read(raw)
        except msgspec.MsgspecError:
            # One event that is not understood ends its own job and leaves the others alone.
            step = MeshError(Code.INTERNAL, "the engine's answer could not be read; try again")
        if isinstance(step, MeshError) or (step is not None and step.finish_reason is not None):
            self.end(step)
        elif step is not None:
            self._emit(step)

    def end(self, last: Step | MeshError) -> None:
        """Ends the job with its last step; what llama.cpp may still be doing for it is stopped."""
        emit, self._emit = self._emit, None
        if emit is not None:
            self._forget(self)
            emit(last)
