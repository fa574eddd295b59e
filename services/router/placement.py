"""Which runner serves a request: the less loaded of two chosen at random.

Power of two choices keeps the fullest queue within log log n of the mean without herding on the one least loaded
runner that every router sees at the same moment (Mitzenmacher, "The Power of Two Choices in Randomized Load
Balancing", 2001).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from services.router.live_runner import LiveRunner
from services.router.metrics import PLACEMENTS
from services.router.table import Table

_TWO_CHOICES = PLACEMENTS.labels("two_choices")
_ONLY_CHOICE = PLACEMENTS.labels("only_choice")


class Needs(NamedTuple):
    """What a request asks of a runner. Requests with equal needs are interchangeable in a queue."""

    # Catalog id.
    model: str
    capabilities: frozenset[str] = frozenset()
    # Ids of runners that failed this very request.
    excluded: frozenset[str] = frozenset()

    def met_by(self, runner: LiveRunner) -> bool:
        """Whether a runner that serves the model can serve this request."""
        return runner.id not in self.excluded and self.capabilities <= runner.capabilities


class Lack(Enum):
    """Why no runner was chosen."""

    # Nobody serves such requests.
    NONE = "none"
    # Every runner that could is full.
    BUSY = "busy"
    # It is not known yet: etcd or the first status of a runner has not been heard.
    UNKNOWN = "unknown"


class Placement:
    """Chooses runners. `random` returns numbers from [0, 1), `clock` monotonic seconds."""

    def __init__(self, table: Table, clock: Callable[[], float], random: Callable[[], float]) -> None:
        self._table = table
        self._clock = clock
        self._random = random

    def choose(self, needs: Needs) -> LiveRunner | Lack:
        """Chooses a runner and counts the request as its load."""
        runners = self._able(needs)
        if not runners:
            return self._why_none(needs)
        now = self._clock()
        one, other = self._two_of(runners)
        if not (one.load.has_room(now) and other.load.has_room(now)):
            # Choose among those with room, which takes a look at every runner.
            free = [runner for runner in runners if runner.load.has_room(now)]
            if not free:
                return Lack.BUSY
            one, other = self._two_of(free)
        chosen = _less_loaded(one, other, now)
        chosen.load.place(now)
        (_TWO_CHOICES if len(runners) > 1 else _ONLY_CHOICE).inc()
        return chosen

    def lack(self, needs: Needs) -> Lack:
        """Says why a request waits, without choosing."""
        return Lack.BUSY if self._able(needs) else self._why_none(needs)

    def _able(self, needs: Needs) -> list[LiveRunner]:
        runners = self._table.serving(needs.model)
        if needs.capabilities or needs.excluded:
            return [runner for runner in runners if needs.met_by(runner)]
        return runners

    def _two_of(self, runners: list[LiveRunner]) -> tuple[LiveRunner, LiveRunner]:
        """Draws two different runners, or the only one twice."""
        count = len(runners)
        first = int(self._random() * count)
        if count == 1:
            return runners[0], runners[0]
        return runners[first], runners[(first + 1 + int(self._random() * (count - 1))) % count]

    def _why_none(self, needs: Needs) -> Lack:
        if not self._table.synced:
            return Lack.UNKNOWN
        hopes = (r for r in self._table.connecting() if needs.model in r.record.models and not r.draining)
        return Lack.UNKNOWN if any(needs.met_by(runner) for runner in hopes) else Lack.NONE


def _less_loaded(one: LiveRunner, other: LiveRunner, now: float) -> LiveRunner:
    """Compares by the share of slots in use."""
    first, second = one.load, other.load
    return one if first.current(now) * second.slots <= second.current(now) * first.slots else other
