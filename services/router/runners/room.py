"""Which runners of a model may have room, so that a tier that is almost full is not searched for each request.

A runner that is found full is put aside. It comes back with its next status, or when what is counted as its load may
have run out. So a full runner is looked at once for each of these, and not once for each request.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Sequence

from services.router.runners.live_runner import LiveRunner


class Room:
    """The runners of one model, those that may have room apart. Times are monotonic seconds."""

    def __init__(self, runners: Iterable[LiveRunner]) -> None:
        self._open = list(runners)
        # Where each one is in the list.
        self._places = {runner: place for place, runner in enumerate(self._open)}
        self._aside: set[LiveRunner] = set()
        # When those aside may have room without a status. The number decides between equal times.
        self._due: list[tuple[float, int, LiveRunner]] = []
        self._number = 0

    def open(self, runner: LiveRunner) -> None:
        """Notes that a runner may have room, because its load has changed."""
        if runner in self._aside:
            self._aside.remove(runner)
            self._places[runner] = len(self._open)
            self._open.append(runner)

    def draw(self, now: float, random: Callable[[], float]) -> tuple[LiveRunner, LiveRunner] | None:
        """Draws two different runners that have room, or the only one twice; None if there is none.

        `random` returns numbers from [0, 1).
        """
        while self._due and self._due[0][0] <= now:
            self.open(heapq.heappop(self._due)[2])
        while self._open:
            one, other = draw_two(self._open, random)
            if not one.load.has_room(now):
                self._put_aside(one)
            elif one is other or other.load.has_room(now):
                return one, other
            else:
                self._put_aside(other)
        return None

    def all(self, now: float) -> Sequence[LiveRunner]:
        """Returns all that have room; not to be changed by the caller."""
        for runner in [runner for runner in self._open if not runner.load.has_room(now)]:
            self._put_aside(runner)
        return self._open

    def _put_aside(self, runner: LiveRunner) -> None:
        last = self._open.pop()
        place = self._places.pop(runner)
        if last is not runner:
            self._open[place], self._places[last] = last, place
        self._aside.add(runner)
        moment = runner.load.full_until()
        if moment < math.inf:
            self._number += 1
            heapq.heappush(self._due, (moment, self._number, runner))


def draw_two(runners: Sequence[LiveRunner], random: Callable[[], float]) -> tuple[LiveRunner, LiveRunner]:
    """Draws two different runners, or the only one twice."""
    count = len(runners)
    first = int(random() * count)
    if count == 1:
        return runners[0], runners[0]
    return runners[first], runners[(first + 1 + int(random() * (count - 1))) % count]
