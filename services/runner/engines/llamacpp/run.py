"""One job of the llama.cpp engine."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from services.common.errors import Code, MeshError
from services.common.telemetry.logs import get_logger
from services.runner.engines.llamacpp.events import EventReader
from services.runner.kinds.base import FinishReason
from services.runner.kinds.text.engine import Emit
from services.runner.kinds.text.job import Step

log = get_logger()
# Hands an event, or a failure, or None after the last one, from a worker thread to the event loop.
Post = Callable[["Run", bytes | MeshError | None], None]
# Generates: blocks, and calls back with each event until that returns True.
Generate = Callable[[Callable[[bytes], bool]], None]


class Run:
    """A running job, which is also its ticket. `work` runs on a worker thread, everything else on the event loop's."""

    def __init__(
        self,
        generate: Generate,
        reader: EventReader,
        emit: Emit,
        forget: Callable[[Run], None],
        *,
        begun: Callable[[Run], None],
    ) -> None:
        """`begun` is told once, when llama.cpp has begun to read the prompt."""
        self._generate = generate
        self._begun: Callable[[Run], None] | None = begun
        self._reader = reader
        # None once the job has ended.
        self._emit: Emit | None = emit
        self._forget = forget
        # Events that have come; llama.cpp sends some while it reads a prompt, too.
        self.progress = 0

    def cancel(self) -> None:
        """Ends the job without another word; llama.cpp learns it when it next reports, after one batch at most."""
        if self._emit is not None:
            self._emit = None
            self._forget(self)

    def finish(self, reason: FinishReason = FinishReason.LENGTH) -> None:
        """Ends the job with what it has said, unless it has said nothing; llama.cpp stops as it does when cancelled."""
        step = self._reader.cut_short(reason)
        if step is not None:
            self.end(step)

    def work(self, post: Post) -> None:
        """Generates; llama.cpp calls back with each event, and stops if told so."""

        def on_event(raw: bytes) -> bool:
            post(self, raw)
            return self._emit is None

        try:
            if self._emit is not None:
                self._generate(on_event)
        except MeshError as error:
            post(self, error)
        except Exception as error:  # noqa: BLE001 - whatever the extension raises ends this job and no other
            # Only its type is logged: its text may quote the request.
            log.warning("llamacpp_failed", error=type(error).__name__)
        finally:
            post(self, None)

    def handle(self, raw: bytes | MeshError | None) -> None:
        """Takes one event, in order; None means that no more will come."""
        self.progress += 1
        if self._emit is None:
            return
        if raw is None:
            self.end(MeshError(Code.INTERNAL, "The engine ended without an answer. Try again."))
            return
        if isinstance(raw, MeshError):
            self.end(raw)
            return
        try:
            step = self._reader.read(raw)
        except msgspec.MsgspecError:
            # One event that is not understood ends its own job and leaves the others alone.
            step = MeshError(Code.INTERNAL, "The engine's answer could not be read. Try again.")
        if self._begun is not None and not isinstance(step, MeshError):
            self._begun(self)
            self._begun = None
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
