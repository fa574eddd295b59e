"""One job of the ExLlamaV2 engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from services.common.errors import MeshError
from services.runner.engines.exllamav2.jobs.steps import StepAssembler
from services.runner.kinds.base import FinishReason
from services.runner.kinds.text.engine import Emit
from services.runner.kinds.text.job import Job, Step

if TYPE_CHECKING:
    from services.runner.engines.exllamav2.jobs.images import Image
    from services.runner.engines.exllamav2.jobs.logits import LogitFilter


class Run:
    """A running job, which is also its ticket. All methods are called on the event loop's thread."""

    __slots__ = ("_emit", "_finish", "_forget", "job", "progress")

    def __init__(
        self, job: Job, emit: Emit, forget: Callable[[Run], None], finish: Callable[[Run, FinishReason], None]
    ) -> None:
        """`forget` is told when the job has been cancelled or has ended, `finish` when it is to be cut short."""
        self.job = job
        # Results of the generator, those of reading the prompt included; its thread counts them.
        self.progress = 0
        # None once the job has ended.
        self._emit: Emit | None = emit
        self._forget = forget
        self._finish = finish

    @property
    def over(self) -> bool:
        """Whether the job has ended; other threads may ask, to save themselves work."""
        return self._emit is None

    def cancel(self) -> None:
        """Ends the job without another word."""
        if self._emit is not None:
            self._emit = None
            self._forget(self)

    def finish(self, reason: FinishReason = FinishReason.LENGTH) -> None:
        """Has the job ended with what it has said, unless it has said nothing."""
        if self._emit is not None:
            self._finish(self, reason)

    def deliver(self, step: Step | MeshError) -> None:
        """Hands a step over, unless the job has been cancelled meanwhile."""
        emit = self._emit
        if emit is None:
            return
        if isinstance(step, MeshError) or step.finish_reason is not None:
            self._emit = None
            self._forget(self)
        emit(step)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A job whose prompt has been read."""

    run: Run
    # The tokens of the prompt before, between and after its images: one part more than there are images.
    parts: list[list[int]]
    # Decoded images, ready for the vision tower.
    images: list[Image]
    # An llguidance.LLMatcher that has seen the resumed tokens, or None for free text.
    matcher: Any


@dataclass(slots=True)
class Active:
    """A job in the generator."""

    run: Run
    # The library's ExLlamaV2DynamicJob.
    handle: Any
    answer: StepAssembler
    # None if nothing has to be done between model and sampler.
    filter: LogitFilter | None
