"""The tables of a comparison."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from bench.comparison.rounds import Figures, Round, medians
from bench.cost import TOKENS

_KINDS = ("unary request", f"{TOKENS}-token stream")


def comparison_tables(rounds: Sequence[Round], revision: str, in_flight: int) -> list[Table]:
    """Returns a table for unary requests and one for streams.

    Each has every round, and the medians: of the figures, of their ratios to the relay, and of this ÷ the other.
    """
    relay = medians([each.relay for each in rounds])
    other = medians([each.other for each in rounds])
    here = medians([each.here for each in rounds])
    ratio = medians([each.here.over(each.other) for each in rounds])
    other_over_relay = medians([each.other.over(each.relay) for each in rounds])
    here_over_relay = medians([each.here.over(each.relay) for each in rounds])
    tables = []
    for at, kind in enumerate(_KINDS):
        table = Table(title=f"CPU-ms of a {kind} at {in_flight} in flight")
        table.add_column("round")
        for name in ("relay", revision, "here", f"here ÷ {revision}"):
            table.add_column(name, justify="right")
        for number, each in enumerate(rounds, start=1):
            first = revision if each.other_first else "here"
            ratios = each.here.over(each.other)
            table.add_row(f"{number}, {first} first", *_cells(at, each.relay, each.other, each.here, ratios))
        table.add_section()
        table.add_row("median", *_cells(at, relay, other, here, ratio), style="bold")
        table.add_row("median ÷ relay", *_cells(at, Figures(1, 1), other_over_relay, here_over_relay))
        tables.append(table)
    return tables


def _cells(at: int, *figures: Figures) -> list[str]:
    return [f"{each[at]:.3f}" for each in figures]
