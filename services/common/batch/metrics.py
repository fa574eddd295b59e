"""What is counted about batch streams. Items divided by frames is the batch size that the design lives on."""

from __future__ import annotations

from typing import Protocol
from weakref import WeakSet

from prometheus_client import Gauge

from services.common.telemetry.metrics import Counter

FRAMES = Counter("tiermesh_batch_frames_total", "Frames of a batch stream.", ["stream", "direction"])
ITEMS = Counter(
    "tiermesh_batch_items_total", "Calls or replies in the frames of a batch stream.", ["stream", "direction"]
)
CONNECTS = Counter("tiermesh_batch_connects_total", "Times that a batch stream was opened.", ["stream"])
EXPIRED = Counter("tiermesh_batch_expired_total", "Calls whose deadline passed before their last reply.", ["stream"])
LATE = Counter("tiermesh_batch_late_total", "Calls refused because they were read after their deadline.", ["stream"])
RETRIED = Counter("tiermesh_batch_retried_total", "Calls sent again after their stream broke.", ["stream"])
PENDING = Gauge("tiermesh_batch_pending", "Calls that wait for their last reply.", ["stream"])


class FrameCounter:
    """Counts the frames and items of one direction of one stream; labels are looked up once."""

    def __init__(self, stream: str, direction: str) -> None:
        self._frames = FRAMES.labels(stream, direction)
        self._items = ITEMS.labels(stream, direction)

    def count(self, items: int) -> None:
        """Counts one frame."""
        self._frames.inc()
        self._items.inc(items)


class HasPending(Protocol):
    """A client whose pending calls are counted."""

    @property
    def pending(self) -> int:
        """Calls that wait for their last reply."""


_clients: dict[str, WeakSet[HasPending]] = {}


def watch_pending(stream: str, client: HasPending) -> None:
    """Adds a client to the gauge. Several share a stream's name: an edge has one client for each runner."""
    clients = _clients.setdefault(stream, WeakSet())
    clients.add(client)
    # Asked when metrics are read, so that calls cost nothing.
    PENDING.labels(stream).set_function(lambda: sum(client.pending for client in clients))
