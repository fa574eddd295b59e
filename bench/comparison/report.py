"""The tables of a comparison."""

from __future__ import annotations

from rich.table import Table

from bench.comparison.rounds import Memory, Round, medians


def comparison_table(rounds: list[Round], other: str, title: str) -> Table:
    """Returns every round and the medians; `other` names what this checkout is compared with."""
    other_relay = [each._replace(relay=each.other_relay) for each in rounds if each.other_relay is not None]
    table = Table(title=title)
    table.add_column("round")
    for name in ("relay", *([f"relay, {other}"] * bool(other_relay)), other, "here", f"here ÷ {other}"):
        table.add_column(name, justify="right")
    for number, each in enumerate(rounds, start=1):
        first = other if each.other_first else "here"
        table.add_row(f"{number}, {first} first", *_cells(*_relays(each), each.other, each.here, each.ratio))
    together = medians(rounds)
    if not other_relay:
        table.add_section()
        table.add_row("median", *_cells(together.relay, together.other, together.here, together.ratio), style="bold")
        table.add_row("median ÷ relay", *_cells(1.0, together.other_over_relay, together.here_over_relay))
        return table
    beside = medians(other_relay)
    table.add_section()
    totals = (together.relay, beside.relay, together.other, together.here, together.ratio)
    table.add_row("median", *_cells(*totals), style="bold")
    table.add_row("median ÷ relay", *_cells(1.0), "", *_cells(together.other_over_relay, together.here_over_relay))
    table.add_row(f"median ÷ relay, {other}", "", *_cells(1.0, beside.other_over_relay, beside.here_over_relay))
    return table


def memory_comparison(memory: Memory, other: str) -> Table:
    """Returns the resident memory of each process on both sides."""
    table = Table(title="RSS MB after the load")
    table.add_column("process")
    for name in (other, "here"):
        table.add_column(name, justify="right")
    for name in sorted(memory.here):
        table.add_row(name, *(f"{side[name]:.0f}" if name in side else "" for side in memory))
    return table


def _relays(each: Round) -> tuple[float, ...]:
    return (each.relay,) if each.other_relay is None else (each.relay, each.other_relay)


def _cells(*figures: float) -> list[str]:
    return [f"{figure:.3f}" for figure in figures]
