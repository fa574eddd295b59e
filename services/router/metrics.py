"""What the router counts. Gauges are read from the table when asked for, so that they cost nothing on the hot path."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

PLACEMENTS = Counter(
    "tiermesh_router_placements_total", "Requests placed on a runner, by how it was chosen.", ["reason"]
)
REFUSALS = Counter("tiermesh_router_refusals_total", "Requests not placed, by why.", ["tier", "reason"])
EJECTIONS = Counter("tiermesh_router_ejections_total", "Runners taken out, by what was seen.", ["tier", "reason"])
QUEUE_WAIT = Histogram(
    "tiermesh_router_queue_wait_seconds",
    "Seconds that placed requests had waited for room.",
    ["tier"],
    buckets=(0.001, 0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 120),
)


class StateCollector(Collector):
    """Gauges of the live table and the queues: `runners` yields (tier, state), `queues` (tier, waiting requests)."""

    def __init__(
        self,
        runners: Callable[[], Iterable[tuple[str, str]]],
        queues: Callable[[], Iterable[tuple[str, int]]],
    ) -> None:
        self._runners = runners
        self._queues = queues

    def collect(self) -> Iterator[Metric]:
        """Reads the present state."""
        runners = GaugeMetricFamily("tiermesh_router_runners", "Runners in the live table.", labels=["tier", "state"])
        for (tier, state), count in sorted(Tally(self._runners()).items()):
            runners.add_metric([tier, state], count)
        yield runners
        depth = GaugeMetricFamily("tiermesh_router_queue_depth", "Requests that wait for room.", labels=["tier"])
        for tier, waiting in self._queues():
            depth.add_metric([tier], waiting)
        yield depth
