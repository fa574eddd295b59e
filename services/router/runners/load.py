"""How busy one runner is: what it says, plus what has been sent its way and is not in its word yet."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

# A placement that no status has counted by then never became a generation: its client left on the way.
PLACEMENT_LIFE = 2.0
# How long a runner that refused a request counts as full, in seconds, if no status says otherwise. The room may have
# been told of before the refusal was, and then no further status would come.
FULL_LIFE = 0.5
# No runner is believed to have more slots, unless the settings say otherwise.
MOST_SLOTS = 256
# Next to other runners, one that has admitted nothing yet counts as if it had so many; then twice what it has admitted.
FIRST_SLOTS = 8


@dataclass(frozen=True, slots=True)
class Report:
    """One status of a runner."""

    slots: int
    active: int
    # Requests admitted since the runner started; it never falls while the runner lives.
    admitted: int
    draining: bool = False
    # For operators alone: pages of the cache that are free, and tokens a second, of engines that can tell.
    pages_free: int = 0
    tokens_per_second: float = 0.0


class Load:
    """The requests of one runner. Times are monotonic seconds.

    `admitted` tells which placements a status has counted: a status that was under way while a placement was made
    does not hide it. Placements by other routers are counted too, so the sum may be low for a moment; the runner's own
    admission has the last word.

    A placement whose client left on the way, or whose request the runner refused, is never admitted. A status does not
    say whose admission it counts, so while others come all the time, such a placement would take the place of younger
    ones and never grow old. As many placements as were on their way at every moment of the last PLACEMENT_LIFE are
    therefore forgotten too.

    `slots` are those that the runner advertises, at most `most_slots`. `proven_slots` are as many of them as its
    admissions bear out: by these it is compared with others, or one that advertises many would never look busy.
    """

    __slots__ = (
        "_admitted",
        "_full_until",
        "_least",
        "_least_since",
        "_most_slots",
        "_placed",
        "active",
        "pages_free",
        "proven_slots",
        "slots",
        "tokens_per_second",
    )

    def __init__(self, slots: int, most_slots: int = MOST_SLOTS) -> None:
        self._most_slots = most_slots
        self.slots = min(slots, most_slots)
        self.proven_slots = min(self.slots, FIRST_SLOTS)
        self.active = 0
        self.pages_free = 0
        self.tokens_per_second = 0.0
        self._admitted = 0
        self._placed: deque[float] = deque()
        # The fewest placements that were on their way at once since a moment.
        self._least = 0
        self._least_since = 0.0
        self._full_until = 0.0

    def place(self, now: float) -> None:
        """Counts a request that is being sent to the runner."""
        self._placed.append(now)

    def report(self, report: Report) -> None:
        """Takes over a status; placements that it counts are forgotten."""
        counted = report.admitted - self._admitted
        self.active, self._admitted = report.active, report.admitted
        self.slots = min(report.slots, self._most_slots)
        self.proven_slots = min(self.slots, max(FIRST_SLOTS, 2 * report.admitted))
        self.pages_free, self.tokens_per_second = report.pages_free, report.tokens_per_second
        self._full_until = 0.0
        self._forget(min(counted, len(self._placed)))

    def restart(self, report: Report) -> None:
        """Takes over the first status of a stream: whatever was sent before it has arrived or is lost."""
        self._forget(len(self._placed))
        self._admitted = report.admitted
        self.report(report)

    def refuse(self, now: float) -> None:
        """Notes that the runner refused a placement for want of room: no status will ever count that one."""
        self.give_back()
        self._full_until = now + FULL_LIFE

    def give_back(self) -> None:
        """Forgets a placement that will not be used."""
        self._forget(min(1, len(self._placed)))

    def current(self, now: float) -> int:
        """Returns how many requests the runner has, as far as can be known."""
        placed = self._placed
        while placed and now >= placed[0] + PLACEMENT_LIFE:
            self._forget(1)
        if now >= self._least_since + PLACEMENT_LIFE:
            self._forget(self._least)
            self._least, self._least_since = len(placed), now
        return self.active + len(placed)

    def _forget(self, count: int) -> None:
        """Forgets the oldest placements."""
        for _ in range(count):
            self._placed.popleft()
        self._least = min(self._least, len(self._placed))

    def has_room(self, now: float) -> bool:
        """Whether one more request fits."""
        return self.current(now) < self.slots and now >= self._full_until

    def full_until(self) -> float:
        """Returns before which moment a full runner gets no room, unless a status says so; infinite if none is known.

        For the moment after `has_room` has been false.
        """
        if self.active >= self.slots:
            return math.inf
        if self.active + len(self._placed) < self.slots:
            return self._full_until
        return max(self._full_until, min(self._placed[0], self._least_since) + PLACEMENT_LIFE)
