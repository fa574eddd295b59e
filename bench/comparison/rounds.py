"""Measures meshes in turn, and the bare relay between them.

A noisy machine changes from second to second, by more than most changes to the code make. So everything runs at once,
and each round measures one after the other: what counts is the median of the ratios within a round. The order changes
from round to round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from bench.cost import Sample


class Round(NamedTuple):
    """What one round has shown: the relay's CPU-milliseconds of a request, and each mesh in the order of measuring."""

    relay: float
    samples: Mapping[str, Sample]


def run_rounds(count: int, relay: Callable[[], float], meshes: Mapping[str, Callable[[], Sample]]) -> Iterator[Round]:
    """Yields each round as it ends; `relay` and `meshes`, by name, measure."""
    for number in range(count):
        names = list(meshes) if number % 2 else list(meshes)[::-1]
        # One mesh comes before the relay in every other round.
        half = (len(names) + number % 2) // 2
        samples = {name: meshes[name]() for name in names[:half]}
        measured = relay()
        samples |= {name: meshes[name]() for name in names[half:]}
        yield Round(measured, samples)


@dataclass(frozen=True)
class Rounds:
    """Some rounds; every figure is a median over them, and every ratio one of ratios within a round."""

    rounds: list[Round]

    @property
    def relay(self) -> float:
        """The relay's CPU-milliseconds of a request."""
        return median(each.relay for each in self.rounds)

    @property
    def processes(self) -> list[str]:
        """The names of all processes."""
        return sorted({name for each in self.rounds for sample in each.samples.values() for name in sample.cpu})

    def of(self, name: str, figure: Callable[[Sample], float]) -> float:
        """Returns a figure of a mesh."""
        return median(figure(each.samples[name]) for each in self.rounds)

    def over_relay(self, name: str) -> float:
        """Returns what a mesh costs beside the relay."""
        return median(each.samples[name].total() / each.relay for each in self.rounds)

    def ratio(self, name: str, other: str, without: frozenset[str] = frozenset()) -> float:
        """Returns what a mesh costs beside another one, both perhaps without some processes."""
        return median(each.samples[name].total(without) / each.samples[other].total(without) for each in self.rounds)
