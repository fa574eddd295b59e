"""Chooses the slot of llama.cpp for each job, so that no job finds what another account has sent.

A slot keeps the prompt that it has read last. llama.cpp itself gives a job the slot, or its copy of an older prompt,
that begins most like it, whoever sent that. It may do so while all jobs are of one account, as on a laptop. From the
first job of another account on, each job is given a slot here, and copies are not used any more.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from services.runner.kinds.text.job import Job

if TYPE_CHECKING:
    from services.runner.engines.llamacpp.run import Run

# A slot that has less of a prompt is worth more to the prompt that it has.
_LEAST_SHARE = 0.1


@dataclass(slots=True, eq=False)
class Slot:
    """One slot, and what it holds."""

    number: int
    # The last job that was given to it.
    run: Run | None = None
    # Whose prompt it has, and which; None if that is not known.
    scope: str | None = None
    prompt: str = ""
    # How many jobs had been placed when this one was.
    placed_at: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a job runs, or None if llama.cpp chooses, and whether the job may go on from what is there."""

    slot: Slot | None
    cached: bool

    def fields(self) -> dict[str, Any]:
        """Returns the fields of llama.cpp's request."""
        return {"id_slot": -1 if self.slot is None else self.slot.number, "cache_prompt": self.cached}


class Slots:
    """The slots of one server; used on the event loop alone."""

    def __init__(self, count: int) -> None:
        self._slots = [Slot(number) for number in range(count)]
        self._placed = 0
        # The only scope so far; None before the first job.
        self._only: str | None = None
        self._several = False

    def place(self, job: Job, running: Collection[Run]) -> Place:
        """Returns a place for a job among the slots whose jobs are not `running`; there is one."""
        scope = job.cache_scope
        if self._only is None:
            self._only = scope
        self._several = self._several or scope != self._only
        if not self._several:
            return Place(None, cached=True)
        free = [slot for slot in self._slots if slot.run not in running]
        shared = {slot: _common(slot.prompt, job.prompt) for slot in free if slot.scope == scope}
        slot = max(shared, key=shared.__getitem__, default=None)
        if slot is None or shared[slot] < _LEAST_SHARE * len(job.prompt):
            slot = min(free, key=lambda each: each.placed_at)
        self._placed += 1
        slot.placed_at = self._placed
        cached = slot.scope == scope
        if not cached:
            # Until llama.cpp has begun, it still has what another account has sent.
            slot.scope, slot.prompt = None, ""
        return Place(slot, cached)

    def take(self, place: Place, run: Run) -> None:
        """Notes which run has a place."""
        if place.slot is not None:
            place.slot.run = run

    def begun(self, place: Place, run: Run, job: Job) -> None:
        """Notes that llama.cpp has begun to read the prompt of a job, and has dropped what was in its place."""
        slot = place.slot
        if slot is not None and slot.run is run:
            slot.scope, slot.prompt = job.cache_scope, job.prompt


def _common(one: str, other: str) -> int:
    """Returns how many characters two texts have in common at their beginning."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
