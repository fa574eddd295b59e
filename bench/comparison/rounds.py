"""Measures two checkouts, or one on two interpreters, in turn.

A noisy machine changes from second to second, by more than most changes to the code make. So both run at once, and in
each round one of them gets a second or so of load, then the bare relay, then the other: what counts is the median of
the ratios within a round. The one that comes first changes. With two interpreters, each has a relay of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import NamedTuple

from bench.cost import RunningRelay, measure_mesh, running_relay
from bench.mesh import RunningMesh, running_mesh
from bench.pace import STREAM_SPEED
from bench.report import mesh_total


class Load(NamedTuple):
    """How much is measured for each figure."""

    requests: int
    streams: int
    in_flight: int


class Side(NamedTuple):
    """One of the two that are compared."""

    checkout: Path
    # The path of the interpreter.
    python: str = sys.executable


class Memory(NamedTuple):
    """Resident megabytes by process, after the load of a round."""

    other: dict[str, float]
    here: dict[str, float]


class Round(NamedTuple):
    """What one round has shown, in CPU-milliseconds of one request."""

    relay: float
    other: float
    here: float
    # Whether the other side was measured before this one.
    other_first: bool
    # The relay on the other interpreter, if there is one.
    other_relay: float | None = None

    @property
    def ratio(self) -> float:
        """What this side costs beside the other one."""
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
    count: int,
    *,
    relay: Callable[[], float],
    other: Callable[[], float],
    here: Callable[[], float],
    other_relay: Callable[[], float] | None = None,
) -> Iterator[Round]:
    """Yields each round as it ends; `relay`, `other`, `here` and `other_relay` measure."""
    for number in range(count):
        if number % 2 == 0:
            first, between, beside, second = other(), relay(), other_relay and other_relay(), here()
            yield Round(between, first, second, other_first=True, other_relay=beside)
        else:
            first, beside, between, second = here(), other_relay and other_relay(), relay(), other()
            yield Round(between, second, first, other_first=False, other_relay=beside)


def compare(other: Side, here: Side, count: int, load: Load, memory: Memory, *, stream: bool) -> Iterator[Round]:
    """Measures both sides in so many rounds, and fills `memory`; the load is that of one round."""
    settings = {"TIERMESH_RUNNER_SIMULATED_SPEED": str(STREAM_SPEED)} if stream else {}
    requests = load.streams if stream else load.requests

    def mesh_cost(mesh: RunningMesh, rss: dict[str, float]) -> float:
        cost = measure_mesh(mesh, requests, load.in_flight, stream=stream)
        rss.update(cost.rss)
        return mesh_total(cost.cpu)

    def relay_cost(relay: RunningRelay) -> float:
        return relay.measure(requests, load.in_flight, stream=stream)

    with ExitStack() as stack:
        relay = stack.enter_context(running_relay(here.python))
        other_relay = stack.enter_context(running_relay(other.python)) if other.python != here.python else None
        theirs, ours = (
            stack.enter_context(running_mesh(slots=64, checkout=side.checkout, python=side.python, settings=settings))
            for side in (other, here)
        )
        yield from run_rounds(
            count,
            relay=lambda: relay_cost(relay),
            other=lambda: mesh_cost(theirs, memory.other),
            here=lambda: mesh_cost(ours, memory.here),
            other_relay=(lambda: relay_cost(other_relay)) if other_relay else None,
        )
