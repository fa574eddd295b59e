"""What the router counts. Gauges are read from the table when asked for, so that they cost nothing on the hot path."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from services.common.telemetry.metrics import Counter, Histogram

PLACEMENTS = Counter(
    "tiermesh_router_placements_total", "Requests placed on a runner, by how it was chosen.", ["reason"]
)
REFUSALS = Counter("tiermesh_router_refusals_total", "Requests not placed, by why.", ["tier", "reason"])
EJECTIONS = Counter("tiermesh_router_ejections_total", "Runners taken out, by what was seen.", ["tier", "reason"])
# Every reason that the two count.
REFUSAL_REASONS = ("busy", "queue_full", "no_runner")
EJECTION_REASONS = ("request_failed", "stalled", "stream_lost")
QUEUE_WAIT = Histogram(
    "tiermesh_router_queue_wait_seconds",
    "Seconds that placed requests had waited for room.",
    ["tier"],
    buckets=(0.001, 0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 120),
)


# Every state that a runner can have, so that a tier without runners shows zeros instead of nothing.
_STATES = ("ready", "draining", "drained", "ejected", "unknown")


class Runner(NamedTuple):
    """A runner in the live table; `active` counts what has been placed on it and is not in its word yet."""

    tier: str
    state: str
    slots: int
    active: int


class Tier(NamedTuple):
    """A tier of the catalog: how many requests wait, and how long they wait while it has no runner, in seconds."""

    tier: str
    waiting: int
    cold_start: float


class StateCollector(Collector):
    """Gauges of the live table and of the catalog's tiers."""

    def __init__(
        self,
        runners: Callable[[], Iterable[Runner]],
        tiers: Callable[[], Iterable[Tier]],
    ) -> None:
        self._runners = runners
        self._tiers = tiers

    def collect(self) -> Iterator[Metric]:
        """Reads the present state."""
        found, tiers = list(self._runners()), list(self._tiers())
        names = sorted({tier.tier for tier in tiers} | {runner.tier for runner in found})
        tally = Tally((runner.tier, runner.state) for runner in found)
        yield _gauge(
            "tiermesh_router_runners",
            "Runners in the live table.",
            ["tier", "state"],
            (((name, state), tally[name, state]) for name in names for state in _STATES),
        )
        ready = [runner for runner in found if runner.state == "ready"]
        yield _gauge(
            "tiermesh_router_slots",
            "Slots of the ready runners.",
            ["tier"],
            (((name,), sum(runner.slots for runner in ready if runner.tier == name)) for name in names),
        )
        yield _gauge(
            "tiermesh_router_slots_active",
            "Slots of the ready runners that are taken.",
            ["tier"],
            (((name,), sum(runner.active for runner in ready if runner.tier == name)) for name in names),
        )
        yield _gauge(
            "tiermesh_router_queue_depth",
            "Requests that wait for room.",
            ["tier"],
            (((tier.tier,), tier.waiting) for tier in tiers),
        )
        yield _gauge(
            "tiermesh_router_cold_start_seconds",
            "How long requests wait while the tier has no runner; 0 for a tier that must always have one.",
            ["tier"],
            (((tier.tier,), tier.cold_start) for tier in tiers),
        )


def _gauge(
    name: str, documentation: str, labels: list[str], samples: Iterable[tuple[tuple[str, ...], float]]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, documentation, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family
