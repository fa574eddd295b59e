"""Sends an edge bodies that are made to cost much: `python -m bench.bodies` prints the most that each kind has cost.

CPU time is the edge's, from the kernel's account of its process, and so is the growth of its memory. The delay is what
another client waits for a small answer meanwhile: on a machine that is busy with other work, it says more about that.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.machine import header
from tests.support.body_cost import BodyCost, EdgeMeter
from tests.support.costly_bodies import MIB, Costly, at_random, image, named
from tests.support.mesh import LocalMesh


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m bench.bodies", description=__doc__)
    parser.add_argument("--bodies", type=int, default=200, help="random bodies, besides those with names")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    arguments = parser.parse_args()
    console = Console()
    console.print(header(), soft_wrap=True)
    random_bodies = (at_random(arguments.seed + at) for at in range(arguments.bodies))
    with (
        tempfile.TemporaryDirectory(prefix="tiermesh-bench-") as folder,
        LocalMesh(Path(folder), tiers=("pro", "max")) as mesh,
    ):
        key = mesh.command_now("key", "create", "--rpm", "0", *_endpoints())["api_key"]
        meter = EdgeMeter(mesh.base_url, key, mesh.pids["edge"])
        named_costs = [_tell(meter, body) for body in [*named(), image(13 * MIB)]]
        random_costs = [_tell(meter, body) for body in random_bodies]
    console.print(_table("Bodies with names", named_costs), _table("Random bodies", random_costs))
    console.print(_table("All", named_costs + random_costs, kind="all"))


def _endpoints() -> list[str]:
    names = ("chat", "embeddings", "audio", "images", "models", "balance", "usage", "keys")
    return [word for name in names for word in ("--endpoint", name)]


def _tell(meter: EdgeMeter, body: Costly) -> BodyCost:
    cost = meter.measure(body)
    print(f"{body.path} {cost}", flush=True)
    return cost


def _table(title: str, costs: Iterable[BodyCost], *, kind: str = "") -> Table:
    """Returns the most that each kind has cost."""
    kinds: dict[str, list[BodyCost]] = defaultdict(list)
    for cost in costs:
        kinds[kind or cost.body].append(cost)
    table = Table(title=title)
    for column in ("kind", "bodies", "largest, MiB", "status", "CPU, ms", "memory, MiB", "delay, ms"):
        table.add_column(column)
    for name, group in kinds.items():
        table.add_row(
            name,
            str(len(group)),
            f"{max(cost.size for cost in group) / MIB:.1f}",
            ", ".join(sorted({str(cost.status) for cost in group})),
            f"{max(cost.cpu for cost in group) * 1000:.0f}",
            f"{max(cost.memory for cost in group) / MIB:.0f}",
            f"{max(cost.delay for cost in group) * 1000:.0f}",
        )
    return table


if __name__ == "__main__":
    main()
