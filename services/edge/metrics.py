"""What the edge counts. Labels have few values: routes and catalog models, never anything a client chooses freely."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)

REQUESTS = Counter("tiermesh_edge_requests_total", "Requests answered.", ["route", "status"])
IN_FLIGHT = Gauge("tiermesh_edge_requests_in_flight", "Requests being served.")
FIRST_TOKEN = Histogram(
    "tiermesh_edge_time_to_first_token_seconds", "From the request to its first token.", ["model"], buckets=_SECONDS
)
DURATION = Histogram("tiermesh_edge_request_seconds", "From the request to its end.", ["route"], buckets=_SECONDS)
DISCONNECTS = Counter(
    "tiermesh_edge_disconnects_total", "Clients that left before their answer was complete.", ["when"]
)


class StatusCounter:
    """Counts the answers of one route; labels are looked up once for each status."""

    def __init__(self, route: str) -> None:
        self._route = route
        self._counters: dict[int, Counter] = {}

    def __call__(self, status: int) -> None:
        """Counts one answer."""
        counter = self._counters.get(status)
        if counter is None:
            counter = self._counters[status] = REQUESTS.labels(self._route, str(status))
        counter.inc()
