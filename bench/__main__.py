"""Prints what the mesh costs: CPU, memory, latency and throughput, beside a bare relay in the same rounds.

`make bench` runs it. CPU is the kernel's count of user and system time over every process of the mesh; the simulated
engine's own work is told apart by the engine itself. Machines are noisy: compare ratios of one run, not runs. With
`--against`, it measures this checkout and another revision in turn, and tells what one costs beside the other. With
`--against-python`, it does so with two interpreters. With
`--all`, every bench runs whose figures are in docs/performance.md, one after the other, which takes about an hour.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from bench.comparison.checkout import HERE_NAME, checkouts
from bench.comparison.report import cost_table, round_line
from bench.comparison.rounds import Round, Rounds, run_rounds
from bench.cost import TOKENS, Load, Sample, metered, running_relay
from bench.every import EVERY
from bench.latency import measure_latency
from bench.machine import describe_other, header
from bench.mesh import HERE, running_mesh
from bench.pace import STREAM_SPEED
from bench.processes import rss_megabytes
from bench.report import latency_table, memory_table, throughput_table
from bench.throughput import measure_throughput

_SLOTS = 64
# The share of a rate that must be answered, so that requests are not gathered while they wait to be sent.
_KEPT_UP = 0.9


class Side(NamedTuple):
    """What a mesh runs: its code, and the path of its interpreter."""

    checkout: Path
    python: str


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000, help="unary requests for each figure, in all rounds")
    parser.add_argument("--streams", type=int, default=960, help=f"{TOKENS}-token streams, in all rounds")
    parser.add_argument("--in-flight", type=int, default=32, help="requests in flight, but for those at random moments")
    parser.add_argument("--rate", type=float, default=500.0, help="requests a second at random moments")
    parser.add_argument("--rounds", type=int, default=10, help="rounds of a comparison, at best an even number")
    parser.add_argument("--against", metavar="REVISION", help="compare with a revision of git")
    parser.add_argument("--python", metavar="PATH", type=interpreter, default=sys.executable,
                        help="the interpreter of mesh and relay")  # fmt: skip
    parser.add_argument("--against-python", metavar="PATH", type=interpreter, help="compare with another interpreter")
    parser.add_argument("--all", action="store_true", help="run every bench, each with its own defaults")
    arguments = parser.parse_args()
    if arguments.all:
        run_all()
        return
    console = Console()
    console.print(header(), soft_wrap=True)
    for python in {arguments.python, arguments.against_python} - {sys.executable, None}:
        console.print(f"{python}: {describe_other(python)}", soft_wrap=True)
    in_flight = arguments.in_flight
    unary = Load(arguments.requests // arguments.rounds, in_flight)
    stream = Load(arguments.streams // arguments.rounds, in_flight, stream=True)
    at_random = unary._replace(in_flight=_SLOTS, rate=arguments.rate)
    loads = {
        f"a unary request in bursts, {in_flight} in flight": unary._replace(bursts=True),
        f"a trickling unary request, {in_flight} in flight": unary,
        f"a unary request at random moments, {arguments.rate:g} a second": at_random,
        f"a {TOKENS}-token stream in bursts, {in_flight} in flight": stream._replace(bursts=True),
        f"a trickling {TOKENS}-token stream, {in_flight} in flight": stream,
    }
    here = Side(HERE, arguments.python)
    for title, load in loads.items():
        measure(console, title, load, arguments.rounds, here, arguments.against, arguments.against_python)
    if not arguments.against and not arguments.against_python:
        with running_mesh(slots=_SLOTS, python=arguments.python) as mesh:
            console.print(latency_table(measure_latency(mesh)))
        console.print(throughput_table(measure_throughput()))


def run_all() -> None:
    """Runs every bench in a process of its own."""
    for command in EVERY:
        print(f"\n$ {command}", flush=True)
        subprocess.run([sys.executable, *shlex.split(command)[1:]], check=True)


def interpreter(text: str) -> str:
    """Returns the path of a program, which holds in each folder; symbolic links stay, since they are environments."""
    found = shutil.which(text)
    if found is None:
        raise argparse.ArgumentTypeError(
            f"there is no program {text!r}; give the path of a Python that has the packages"
        )
    return str(Path(found).absolute())


def measure(
    console: Console, title: str, load: Load, count: int, here: Side, revision: str | None, python: str | None
) -> None:
    """Measures this checkout in so many rounds, in turn with another revision or interpreter, or both, if asked to."""
    settings = {"TIERMESH_RUNNER_SIMULATED_SPEED": str(STREAM_SPEED)} if load.stream else {}
    # Two builds of one version have the same description, so the path is what tells them apart.
    other = " on ".join(name for name in (revision, python) if name) or None
    with ExitStack() as stack:
        folders = stack.enter_context(checkouts(revision))
        sides = {HERE_NAME: here}
        if other is not None:
            sides[other] = Side(folders[revision] if revision else here.checkout, python or here.python)
        relay = stack.enter_context(running_relay(python=here.python))
        meshes = {}
        for name, side in sides.items():
            mesh = running_mesh(slots=_SLOTS, checkout=side.checkout, python=side.python, settings=settings)
            meshes[name] = stack.enter_context(metered(stack.enter_context(mesh)))
        for each in meshes.values():
            each.send(load)
        relay.measure(load)
        measures: dict[str, Callable[[], Sample]] = {name: partial(mesh.measure, load) for name, mesh in meshes.items()}
        if python:
            # An interpreter may suit the relay more than the mesh.
            other_relay = stack.enter_context(running_relay(python=python))
            other_relay.measure(load)
            measures[f"relay on {python}"] = lambda: Sample({"relay": other_relay.measure(load)}, 0.0, 0.0)
        rounds: list[Round] = []
        for found in run_rounds(count, partial(relay.measure, load), measures):
            rounds.append(found)
            console.print(f"{title}, round {len(rounds)}: {round_line(found)}", highlight=False)
        console.print(cost_table(rounds, list(measures), f"CPU-ms of {title}", other))
        if Rounds(rounds).of(HERE_NAME, lambda sample: sample.rate) < load.rate * _KEPT_UP:
            console.print("The mesh did not keep up with this rate, so that requests came together after all.")
        if load.stream:
            console.print(memory_table({name: rss_megabytes(mesh.mesh.pids) for name, mesh in meshes.items()}))


if __name__ == "__main__":
    main()
