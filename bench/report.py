"""Tables of memory, latency and throughput."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table

from bench.latency import Latency
from bench.throughput import Throughput

# Megabytes that a process may hold.
RSS_BUDGET = 80.0


def memory_table(meshes: Mapping[str, Mapping[str, float]]) -> Table:
    """Returns resident memory by process, a column for each mesh."""
    table = Table("RSS MB", title=f"Memory after the load (budget {RSS_BUDGET:.0f} MB a control process)")
    for name in meshes:
        table.add_column(name, justify="right")
    for process in sorted({process for rss in meshes.values() for process in rss}):
        table.add_row(process, *(f"{rss[process]:.0f}" if process in rss else "" for rss in meshes.values()))
    return table


def latency_table(latency: Latency) -> Table:
    """Returns the latency that the mesh adds."""
    table = Table("one-token request, one in flight", "ms", title="Latency")
    table.add_row("engine alone, median", f"{latency.engine_median:.2f}")
    table.add_row("through the mesh, median", f"{latency.mesh_median:.2f}")
    table.add_row("through the mesh, p99", f"{latency.mesh_p99:.2f}")
    table.add_row("added by the mesh, median", f"{latency.mesh_median - latency.engine_median:.2f}", style="bold")
    return table


def throughput_table(throughput: Throughput) -> Table:
    """Returns tokens a second with and without the mesh."""
    table = Table("32 streams at 50 tokens/s each", "tokens/s", title="Throughput")
    table.add_row("engine alone", f"{throughput.direct:.0f}")
    table.add_row("through the mesh", f"{throughput.mesh:.0f}")
    table.add_row("mesh ÷ engine", f"{throughput.mesh / throughput.direct:.1%}", style="bold")
    return table
