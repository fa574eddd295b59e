"""The table of a comparison."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from bench.comparison.rounds import Figures, Round, medians

_KINDS = ("unary", "stream")


def comparison_table(rounds: Sequence[Round], revision: str, in_flight: int) -> Table:
    """Returns every round, and the medians: of the figures, of their ratios to the relay, and of this ÷ the other."""
    table = Table(title=f"CPU-ms at {in_flight} in flight: this checkout against {revision}")
    table.add_column("round")
    for kind in _KINDS:
        for name in ("relay", revision, "here", "ratio"):
            table.add_column(f"{kind}: {name}", justify="right")
    for number, each in enumerate(rounds, start=1):
        first = revision if each.other_first else "here"
        table.add_row(f"{number}, {first} first", *_row(each.relay, each.other, each.here, each.here.over(each.other)))
    table.add_section()
    relay = medians([each.relay for each in rounds])
    other = medians([each.other for each in rounds])
    here = medians([each.here for each in rounds])
    ratio = medians([each.here.over(each.other) for each in rounds])
    table.add_row("median", *_row(relay, other, here, ratio), style="bold")
    other = medians([each.other.over(each.relay) for each in rounds])
    here = medians([each.here.over(each.relay) for each in rounds])
    table.add_row("median ÷ relay", *_row(Figures(1, 1), other, here, None))
    return table


def _row(*figures: Figures | None) -> list[str]:
    """Returns the cells of several figures: those of unary requests, then those of streams."""
    return [f"{each[at]:.3f}" if each else "" for at in range(len(_KINDS)) for each in figures]
