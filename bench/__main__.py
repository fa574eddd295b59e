"""Prints what the mesh costs: CPU, memory, latency and throughput, beside a bare relay in the same run.

`make bench` runs it. CPU is the kernel's count of user and system time over every process of the mesh; the simulated
engine's own work is told apart by the engine itself. Machines are noisy: compare ratios of one run, not runs. With
`--against`, it measures this checkout and another revision in turn, and tells what one costs beside the other. With
`--against-python`, it does so with two interpreters.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from bench.comparison.checkout import checkout_of, generate_protos
from bench.comparison.report import comparison_table, memory_comparison
from bench.comparison.rounds import Load, Memory, Round, Side, compare
from bench.cost import TOKENS, measure_mesh, measure_relay
from bench.latency import measure_latency
from bench.machine import describe_machine, describe_other
from bench.mesh import HERE, running_mesh
from bench.pace import STREAM_SPEED
from bench.report import cost_table, latency_table, memory_table, throughput_table
from bench.throughput import measure_throughput


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--requests", type=int, default=3000, help="unary requests for each figure, in all rounds")
    parser.add_argument("--streams", type=int, default=600, help="64-token streams for each figure, in all rounds")
    parser.add_argument("--in-flight", type=int, default=32, help="requests in flight")
    parser.add_argument("--against", metavar="REVISION", help="compare with a revision of git instead")
    parser.add_argument("--python", metavar="PATH", type=interpreter, default=sys.executable,
                        help="the interpreter of mesh and relay")  # fmt: skip
    parser.add_argument("--against-python", metavar="PATH", type=interpreter,
                        help="compare with another interpreter instead")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=10, help="rounds of a comparison, at best an even number")
    arguments = parser.parse_args()
    console = Console()
    console.print(describe_machine(), soft_wrap=True)
    if arguments.python != sys.executable:
        console.print(f"mesh and relay: {describe_other(arguments.python)}", soft_wrap=True)
    load = Load(arguments.requests, arguments.streams, arguments.in_flight)
    if arguments.against or arguments.against_python:
        each = Load(arguments.requests // arguments.rounds, arguments.streams // arguments.rounds, arguments.in_flight)
        here = Side(HERE, arguments.python)
        measure_against(console, arguments.against, arguments.against_python, here, arguments.rounds, each)
    else:
        measure(console, load, arguments.python)


def interpreter(text: str) -> str:
    """Returns the path of a program, which holds in each folder; symbolic links stay, since they are environments."""
    found = shutil.which(text)
    if found is None:
        raise argparse.ArgumentTypeError(
            f"there is no program {text!r}; give the path of a Python that has the packages"
        )
    return str(Path(found).absolute())


def measure(console: Console, load: Load, python: str) -> None:
    """Measures this checkout."""
    relay = measure_relay(*load, python)
    with running_mesh(slots=64, python=python) as mesh:
        unary = measure_mesh(mesh, load.requests, load.in_flight, stream=False)
        latency = measure_latency(mesh)
    settings = {"TIERMESH_RUNNER_SIMULATED_SPEED": str(STREAM_SPEED)}
    with running_mesh(slots=64, python=python, settings=settings) as mesh:
        stream = measure_mesh(mesh, load.streams, load.in_flight, stream=True)
    console.print(cost_table(unary, stream, relay, load.in_flight), memory_table(stream), latency_table(latency))
    console.print(throughput_table(measure_throughput()))


def measure_against(
    console: Console, revision: str | None, python: str | None, here: Side, count: int, load: Load
) -> None:
    """Measures this checkout and another revision in turn, or this interpreter and another one, or both."""
    names = [revision] if revision else []
    if python:
        described = describe_other(python)
        console.print(f"compared with: {described} ({python})", soft_wrap=True)
        names.append(described.partition(",")[0])
    other = " on ".join(names)
    with ExitStack() as stack:
        checkout = stack.enter_context(checkout_of(revision)) if revision else here.checkout
        if revision:
            generate_protos(checkout)
        side = Side(checkout, python or here.python)
        memory = Memory({}, {})
        for stream, kind in ((False, "unary request"), (True, f"{TOKENS}-token stream")):
            rounds: list[Round] = []
            for each in compare(side, here, count, load, memory, stream=stream):
                rounds.append(each)
                console.print(f"{kind}, round {len(rounds)}: here ÷ {other} = {each.ratio:.3f}")
            title = f"CPU-ms of a {kind} at {load.in_flight} in flight"
            console.print(comparison_table(rounds, other, title))
        console.print(memory_comparison(memory, other))


if __name__ == "__main__":
    main()
