"""A line for each window, and what the whole run shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.soak.gauges import Disk, Occupied
from bench.soak.growth import DESCRIPTORS, MEMORY, Bound, growth
from bench.soak.traffic import Window

_COUNTS = ("sent", "answered", "refused", "left", "errors")
_MILLISECONDS = ("p50", "p99", "relay p50", "relay p99")
_MEGABYTES = ("database", "WAL files", "WAL written")


@dataclass(frozen=True, slots=True)
class Row:
    """One window of the run."""

    minute: float
    window: Window
    occupied: Occupied
    disk: Disk

    def quantile(self, share: float, *, relayed: bool = False) -> float:
        """Returns a quantile of the latency that was added, or of the relay's, in milliseconds."""
        values = sorted(self.window.relayed if relayed else self.window.added)
        return values[min(len(values) - 1, int(len(values) * share))] * 1000 if values else 0.0


def header(processes: Sequence[str]) -> str:
    """Returns the names of the columns of `line`."""
    names = ["minute", *_COUNTS, *_MILLISECONDS, *_MEGABYTES, *(f"{name} MB/files" for name in processes)]
    return " | ".join(names)


def line(row: Row) -> str:
    """Returns a row as text."""
    counts = [str(getattr(row.window, name)) for name in _COUNTS]
    quantiles = [row.quantile(share, relayed=relayed) for relayed in (False, True) for share in (0.5, 0.99)]
    occupied = [
        f"{megabytes:.1f}/{row.occupied.descriptors[name]:.0f}" for name, megabytes in row.occupied.memory.items()
    ]
    sizes = (row.disk.databases, row.disk.log, row.disk.logged)
    cells = [f"{row.minute:.1f}", *counts, *(f"{value:.1f}" for value in (*quantiles, *sizes)), *occupied]
    return " | ".join(cells)


def trends(rows: Sequence[Row]) -> Iterator[str]:
    """Yields by how much each quantity grew in the last two thirds of the windows."""
    yield f"growth over the last two thirds of {len(rows)} windows:"
    for name, values, unit, bound in _quantities(rows):
        yield f"  {name}: {growth(values):+.2f} {unit} (at most {bound.of(values):.2f})"
    for share, relayed in ((0.5, False), (0.99, False), (0.5, True), (0.99, True)):
        name = f"{'relay' if relayed else 'added latency'}, p{share * 100:.0f}"
        yield f"  {name}: {growth([row.quantile(share, relayed=relayed) for row in rows]):+.2f} ms"


def grown(rows: Sequence[Row]) -> Iterator[str]:
    """Yields what grew by more than it may."""
    for name, values, unit, bound in _quantities(rows):
        if (by := growth(values)) > bound.of(values):
            yield f"{name} grew by {by:.2f} {unit}, which is more than {bound.of(values):.2f}"


def _quantities(rows: Sequence[Row]) -> Iterator[tuple[str, list[float], str, Bound]]:
    for name in rows[0].occupied.memory:
        yield f"memory of {name}", [row.occupied.memory[name] for row in rows], "MB", MEMORY
        yield f"open files of {name}", [row.occupied.descriptors[name] for row in rows], "files", DESCRIPTORS
