"""Which runner serves a request: one that has read its beginning already, else the less loaded of two drawn at random.

A warm runner spares the time to the first token, but must not be loaded far beyond the others for it. Its load is
bounded by a multiple of the mean (Mirrokni, Thorup, Zadimoghaddam, "Consistent Hashing with Bounded Loads", 2016).

Power of two choices keeps the fullest queue within log log n of the mean without herding on the one least loaded
runner that every router sees at the same moment (Mitzenmacher, "The Power of Two Choices in Randomized Load
Balancing", 2001).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import NamedTuple

from services.router.metrics import PLACEMENTS
from services.router.runners.live_runner import LiveRunner
from services.router.runners.room import draw_two
from services.router.runners.table import Table
from services.router.warm_prefixes import WarmPrefixes

# How far beyond the mean a warm runner's load may go: the paper's c.
BOUND = 1.25
# A warm runner with fewer requests is taken in any case. One of them may be the turn before, whose end the runner has
# not told yet, and where there are fewer requests than runners the mean would allow no company at all.
ALWAYS_ALLOWED = 2
# To know the mean takes a look at every runner, so it is not taken anew for so long, in seconds.
MEAN_LIFE = 0.05

# How many pairs are drawn before every runner is looked at.
_TRIES = 4

_WARM_PREFIX = PLACEMENTS.labels("warm_prefix")
_TWO_CHOICES = PLACEMENTS.labels("two_choices")
_ONLY_CHOICE = PLACEMENTS.labels("only_choice")


class Needs(NamedTuple):
    """What a request asks of a runner. Requests with equal needs are interchangeable in a queue."""

    # Catalog id.
    model: str
    capabilities: frozenset[str] = frozenset()
    # Ids of runners that failed this very request.
    excluded: frozenset[str] = frozenset()
    # The digest of the vocabulary that it must have; empty for any.
    vocabulary: str = ""
    # Whether it takes no slot, so that a full runner will do.
    slotless: bool = False

    def met_by(self, runner: LiveRunner) -> bool:
        """Whether a runner that serves the model can serve this request."""
        if self.vocabulary and runner.record.vocabulary != self.vocabulary:
            return False
        return runner.id not in self.excluded and self.capabilities <= runner.capabilities

    @property
    def are_plain(self) -> bool:
        """Whether every runner that serves the model can serve this request."""
        return not (self.capabilities or self.excluded or self.vocabulary)


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
        self._warm_prefixes = WarmPrefixes()
        # By model: until when it holds, and the mean load of its runners' slots.
        self._mean_shares: dict[str, tuple[float, float]] = {}

    def choose(self, needs: Needs, prefix_hashes: Sequence[int] = ()) -> LiveRunner | Lack:
        """Chooses a runner and counts the request as its load, unless it takes no slot.

        `prefix_hashes` stand for the beginnings of its prompt, the shortest first.
        """
        runners = self._table.serving(needs.model)
        now = self._clock()
        # One runner alone leaves nothing to choose.
        hashes = prefix_hashes if len(runners) > 1 and not needs.slotless else ()
        warm = self._warm_one(needs, hashes, now) if hashes else None
        pair = (warm, warm) if warm else self._draw(needs, now)
        if pair is None:
            return self.lack(needs)
        chosen = _less_loaded(*pair, now)
        if needs.slotless:
            return chosen
        chosen.load.place(now)
        (_WARM_PREFIX if warm else _ONLY_CHOICE if pair[0] is pair[1] else _TWO_CHOICES).inc()
        if hashes:
            self._warm_prefixes.remember(hashes, chosen)
        return chosen

    def lack(self, needs: Needs) -> Lack:
        """Says why a request waits, without choosing."""
        able = any(needs.met_by(runner) for runner in self._table.serving(needs.model))
        return Lack.BUSY if able else self._why_none(needs)

    def _warm_one(self, needs: Needs, prefix_hashes: Sequence[int], now: float) -> LiveRunner | None:
        """Returns the runner that has read most of the prompt among those that are not too busy, if there is one."""
        for runner in self._warm_prefixes.runners(prefix_hashes):
            load = runner.load
            if not (self._table.serves(runner, needs.model) and needs.met_by(runner) and load.has_room(now)):
                continue
            current = load.current(now)
            if current < ALWAYS_ALLOWED or current < BOUND * self._mean_share(needs.model, now) * load.proven_slots:
                return runner
        return None

    def _mean_share(self, model: str, now: float) -> float:
        """Returns how many requests a slot would have, this one included, if all runners were equally loaded."""
        until, share = self._mean_shares.get(model, (0.0, 0.0))
        if now >= until:
            loads = [runner.load for runner in self._table.serving(model)]
            share = (sum(load.current(now) for load in loads) + 1) / sum(load.proven_slots for load in loads)
            self._mean_shares[model] = now + MEAN_LIFE, share
        return share

    def _draw(self, needs: Needs, now: float) -> tuple[LiveRunner, LiveRunner] | None:
        """Draws two different runners among those that can take a request, or the only one twice.

        Returns None if there is none. A pair with one that cannot is put back, so that a few of them cost no look at
        every runner with room.
        """
        room = self._table.room(needs.model)
        for _ in range(_TRIES):
            pair = self._any_two(needs.model) if needs.slotless else room.draw(now, self._random)
            if pair is None:
                return None
            if needs.are_plain or (needs.met_by(pair[0]) and needs.met_by(pair[1])):
                return pair
        runners = self._table.serving(needs.model) if needs.slotless else room.all(now)
        able = [runner for runner in runners if needs.met_by(runner)]
        return draw_two(able, self._random) if able else None

    def _any_two(self, model: str) -> tuple[LiveRunner, LiveRunner] | None:
        runners = self._table.serving(model)
        return draw_two(runners, self._random) if runners else None

    def _why_none(self, needs: Needs) -> Lack:
        if not self._table.synced:
            return Lack.UNKNOWN
        hopes = (r for r in self._table.connecting() if needs.model in r.record.models and not r.draining)
        return Lack.UNKNOWN if any(needs.met_by(runner) for runner in hopes) else Lack.NONE


def _less_loaded(one: LiveRunner, other: LiveRunner, now: float) -> LiveRunner:
    """Compares by the share of slots in use, of those that the runners have proven to have."""
    first, second = one.load, other.load
    return one if first.current(now) * second.proven_slots <= second.current(now) * first.proven_slots else other
