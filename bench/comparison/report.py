"""The table of a comparison."""

from __future__ import annotations

from rich.table import Table

from bench.comparison.rounds import Round, medians


def comparison_table(rounds: list[Round], revision: str, title: str) -> Table:
    """Returns every round and the medians."""
    table = Table(title=title)
    table.add_column("round")
    for name in ("relay", revision, "here", f"here ÷ {revision}"):
        table.add_column(name, justify="right")
    for number, each in enumerate(rounds, start=1):
        first = revision if each.other_first else "here"
        table.add_row(f"{number}, {first} first", *_cells(each.relay, each.other, each.here, each.ratio))
    together = medians(rounds)
    table.add_section()
    table.add_row("median", *_cells(together.relay, together.other, together.here, together.ratio), style="bold")
    table.add_row("median ÷ relay", *_cells(1.0, together.other_over_relay, together.here_over_relay))
    return table


def _cells(*figures: float) -> list[str]:
    return [f"{figure:.3f}" for figure in figures]
