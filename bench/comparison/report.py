"""The table of meshes that were measured in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.table import Table

from bench.comparison.rounds import Round, Rounds
from bench.cost import NOT_MESH

# CPU-milliseconds. A process that needs less has nothing to do with requests.
_SHOWN = 0.0005


def round_line(found: Round) -> str:
    """Returns what one round has shown, in a line."""
    meshes = "; ".join(
        f"{name} {sample.total():.3f} (÷ relay: {sample.total() / found.relay:.2f})"
        for name, sample in found.samples.items()
    )
    return f"relay {found.relay:.3f}; {meshes}"


def cost_table(rounds: list[Round], names: Sequence[str], title: str, other: str | None = None) -> Table:
    """Returns CPU-milliseconds of a request by process, a column for each mesh, and ratios.

    `other` names the mesh that the others are compared with.
    """
    found = Rounds(rounds)
    table = Table("CPU-ms", title=f"{title}; medians of {len(rounds)} rounds")
    for name in names:
        table.add_column(name, justify="right")
    for process in found.processes:
        costs = [found.of(name, lambda sample: sample.cpu.get(process, 0.0)) for name in names]  # noqa: B023 - called at once
        if max(costs) >= _SHOWN:
            table.add_row(process, *(f"{cost:.3f}" for cost in costs), style="dim" * (process in NOT_MESH))
    table.add_section()
    add_figures(table, names, "mesh", lambda name: found.of(name, lambda sample: sample.total()))
    add_figures(table, names, "bare relay, same rounds", lambda _: found.relay)
    add_figures(table, names, "mesh ÷ relay", found.over_relay)
    if other is not None:
        add_figures(table, names, f"mesh ÷ {other}, in a round", lambda name: found.ratio(name, other))
    add_figures(table, names, "operations in a transaction", lambda name: found.of(name, lambda each: each.operations))
    add_figures(table, names, "answers a second", lambda name: found.of(name, lambda sample: sample.rate))
    return table


def add_figures(table: Table, names: Sequence[str], what: str, figure: Callable[[str], float]) -> None:
    """Adds a row with a figure of each mesh."""
    table.add_row(what, *(f"{figure(name):.3f}" for name in names))
