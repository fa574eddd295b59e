"""Whether a quantity grows from window to window, in spite of noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median


@dataclass(frozen=True, slots=True)
class Bound:
    """How much a quantity may grow: so much in its own unit, or this share of its median, whichever is more."""

    amount: float
    share: float

    def of(self, values: Sequence[float]) -> float:
        """Returns the most by which these may grow."""
        return max(self.amount, self.share * median(settled(values)))


# Over the last two thirds of a run, whatever its length. Pages of memory, in MB.
MEMORY = Bound(2.0, 0.03)
# Connections come and go with requests.
DESCRIPTORS = Bound(16.0, 0.1)


def settled(values: Sequence[float]) -> Sequence[float]:
    """Returns the last two thirds: caches and heaps fill in the first third."""
    return values[len(values) // 3 :]


def growth(values: Sequence[float]) -> float:
    """Returns by how much the last two thirds have grown from their first to their last window.

    The slope is that of Theil and Sen, the median over all pairs, which a few odd windows do not change.
    """
    kept = settled(values)
    slopes = [(later - earlier) / (end - begin) for (begin, earlier), (end, later) in combinations(enumerate(kept), 2)]
    return median(slopes) * (len(kept) - 1) if slopes else 0.0
