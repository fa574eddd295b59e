"""Measures two checkouts in turn.

A noisy machine changes from minute to minute, by more than most changes to the code make. So both are measured in each
round, with the bare relay between them, and the one that comes first changes: what counts is the median of the ratios
within a round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

from bench.cost import measure_mesh, measure_relay
from bench.mesh import running_mesh
from bench.pace import STREAM_SPEED
from bench.report import mesh_total


class Load(NamedTuple):
    """How much is measured for each figure."""

    requests: int
    streams: int
    in_flight: int


class Figures(NamedTuple):
    """CPU-milliseconds of one unary request and of one stream."""

    unary: float
    stream: float

    def over(self, other: Figures) -> Figures:
        """Returns the ratios to other figures."""
        return Figures(self.unary / other.unary, self.stream / other.stream)


class Round(NamedTuple):
    """What one round has shown."""

    relay: Figures
    other: Figures
    here: Figures
    # Whether the other checkout was measured before this one.
    other_first: bool


def run_rounds(
    count: int, *, relay: Callable[[], Figures], other: Callable[[], Figures], here: Callable[[], Figures]
) -> Iterator[Round]:
    """Yields each round as it ends; `relay`, `other` and `here` measure."""
    for number in range(count):
        if number % 2 == 0:
            first, between, second = other(), relay(), here()
            yield Round(between, first, second, other_first=True)
        else:
            first, between, second = here(), relay(), other()
            yield Round(between, second, first, other_first=False)


def medians(figures: list[Figures]) -> Figures:
    """Returns the median of each figure."""
    return Figures(median(each.unary for each in figures), median(each.stream for each in figures))


def measured_relay(load: Load) -> Figures:
    """Measures the bare relay."""
    return Figures(*measure_relay(load.requests, load.streams, load.in_flight))


def measured_mesh(checkout: Path, load: Load) -> Figures:
    """Measures the mesh of a checkout, without its engine."""
    with running_mesh(slots=64, checkout=checkout) as mesh:
        unary = measure_mesh(mesh, load.requests, load.in_flight, stream=False)
    speed = str(STREAM_SPEED)
    with running_mesh(slots=64, checkout=checkout, TIERMESH_RUNNER_SIMULATED_SPEED=speed) as mesh:
        stream = measure_mesh(mesh, load.streams, load.in_flight, stream=True)
    return Figures(mesh_total(unary.cpu), mesh_total(stream.cpu))
