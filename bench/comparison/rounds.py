"""Measures two checkouts in turn.

A noisy machine changes from second to second, by more than most changes to the code make. So both run at once, and in
each round one of them gets a second or so of load, then the bare relay, then the other: what counts is the median of
the ratios within a round. The one that comes first changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

from bench.cost import measure_mesh, running_relay
from bench.mesh import RunningMesh, running_mesh
from bench.pace import STREAM_SPEED
from bench.report import mesh_total


class Load(NamedTuple):
    """How much is measured for each figure."""

    requests: int
    streams: int
    in_flight: int


class Round(NamedTuple):
    """What one round has shown, in CPU-milliseconds of one request."""

    relay: float
    other: float
    here: float
    # Whether the other checkout was measured before this one.
    other_first: bool

    @property
    def ratio(self) -> float:
        """What this checkout costs beside the other one."""
        return self.here / self.other


class Medians(NamedTuple):
    """What all rounds have shown together: the median of each figure, and those of the ratios within a round."""

    relay: float
    other: float
    here: float
    ratio: float
    other_over_relay: float
    here_over_relay: float


def medians(rounds: list[Round]) -> Medians:
    """Returns the medians of some rounds."""
    return Medians(
        median(each.relay for each in rounds),
        median(each.other for each in rounds),
        median(each.here for each in rounds),
        median(each.ratio for each in rounds),
        median(each.other / each.relay for each in rounds),
        median(each.here / each.relay for each in rounds),
    )


def run_rounds(
    count: int, *, relay: Callable[[], float], other: Callable[[], float], here: Callable[[], float]
) -> Iterator[Round]:
    """Yields each round as it ends; `relay`, `other` and `here` measure."""
    for number in range(count):
        if number % 2 == 0:
            first, between, second = other(), relay(), here()
            yield Round(between, first, second, other_first=True)
        else:
            first, between, second = here(), relay(), other()
            yield Round(between, second, first, other_first=False)


def compare(other: Path, here: Path, count: int, load: Load, *, stream: bool) -> Iterator[Round]:
    """Measures two checkouts in so many rounds; the load is that of one round."""
    settings = {"TIERMESH_RUNNER_SIMULATED_SPEED": str(STREAM_SPEED)} if stream else {}
    requests = load.streams if stream else load.requests

    def cost(mesh: RunningMesh) -> float:
        return mesh_total(measure_mesh(mesh, requests, load.in_flight, stream=stream).cpu)

    with (
        running_relay() as relay,
        running_mesh(slots=64, checkout=other, settings=settings) as theirs,
        running_mesh(slots=64, checkout=here, settings=settings) as ours,
    ):
        yield from run_rounds(
            count,
            relay=lambda: relay.measure(requests, load.in_flight, stream=stream),
            other=lambda: cost(theirs),
            here=lambda: cost(ours),
        )
