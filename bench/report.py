"""Tables of what was measured, beside what DESIGN §3 allows."""

from __future__ import annotations

from rich.table import Table

from bench.cost import TOKENS, Cost
from bench.latency import Latency
from bench.load import Result
from bench.throughput import Throughput

# CPU-milliseconds that the whole paid path may use, without the engine; megabytes that a process may hold.
UNARY_BUDGET = 0.5
STREAM_BUDGET = 3.0
RSS_BUDGET = 80.0
NOT_MESH = {"engine"}


def cost_table(unary: Cost, stream: Cost, relay: tuple[float, float], in_flight: int) -> Table:
    """Returns CPU by process, the sum, the budget and the ratio to a bare relay."""
    table = Table("process", "CPU-ms / unary request", f"CPU-ms / {TOKENS}-token stream",
                  title=f"CPU at {in_flight} in flight")  # fmt: skip
    for name in sorted(unary.cpu):
        table.add_row(name, f"{unary.cpu[name]:.3f}", f"{stream.cpu[name]:.3f}", style="dim" * (name in NOT_MESH))
    table.add_section()
    totals = mesh_total(unary.cpu), mesh_total(stream.cpu)
    table.add_row("mesh (all but the engine)", f"{totals[0]:.3f}", f"{totals[1]:.3f}", style="bold")
    table.add_row("budget", f"{UNARY_BUDGET:.3f}", f"{STREAM_BUDGET:.3f}")
    table.add_row("bare aiohttp relay, same run", f"{relay[0]:.3f}", f"{relay[1]:.3f}")
    table.add_row("mesh ÷ relay", f"{totals[0] / relay[0]:.2f}", f"{totals[1] / relay[1]:.2f}")
    table.add_row("answers a second", f"{_rate(unary.result)}", f"{_rate(stream.result)}")
    return table


def mesh_total(by_process: dict[str, float]) -> float:
    """Returns the sum over everything but the engine."""
    return sum(value for name, value in by_process.items() if name not in NOT_MESH)


def memory_table(cost: Cost) -> Table:
    """Returns resident memory by process."""
    table = Table("process", "RSS MB", title=f"Memory after the load (budget {RSS_BUDGET:.0f} MB a control process)")
    for name, megabytes in sorted(cost.rss.items()):
        table.add_row(name, f"{megabytes:.0f}")
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


def _rate(result: Result) -> str:
    return f"{result.answered / result.seconds:.0f}"
