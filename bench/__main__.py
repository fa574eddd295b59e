"""Prints what the mesh costs: CPU, memory, latency and throughput, beside a bare relay in the same run.

`make bench` runs it. CPU is the kernel's count of user and system time over every process of the mesh; the simulated
engine's own work is told apart by the engine itself. Machines are noisy: compare ratios of one run, not runs. With
`--against`, it measures this checkout and another revision in turn, and tells what one costs beside the other.
"""

from __future__ import annotations

import argparse

from rich.console import Console

from bench.comparison.checkout import checkout_of, generate_protos
from bench.comparison.report import comparison_table
from bench.comparison.rounds import Load, Round, compare
from bench.cost import TOKENS, measure_mesh, measure_relay
from bench.latency import measure_latency
from bench.machine import describe_machine
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
    parser.add_argument("--rounds", type=int, default=10, help="rounds of a comparison, at best an even number")
    arguments = parser.parse_args()
    console = Console()
    console.print(describe_machine(), soft_wrap=True)
    load = Load(arguments.requests, arguments.streams, arguments.in_flight)
    if arguments.against:
        each = Load(arguments.requests // arguments.rounds, arguments.streams // arguments.rounds, arguments.in_flight)
        measure_against(console, arguments.against, arguments.rounds, each)
    else:
        measure(console, load)


def measure(console: Console, load: Load) -> None:
    """Measures this checkout."""
    relay = measure_relay(*load)
    with running_mesh(slots=64) as mesh:
        unary = measure_mesh(mesh, load.requests, load.in_flight, stream=False)
        latency = measure_latency(mesh)
    with running_mesh(slots=64, settings={"TIERMESH_RUNNER_SIMULATED_SPEED": str(STREAM_SPEED)}) as mesh:
        stream = measure_mesh(mesh, load.streams, load.in_flight, stream=True)
    console.print(cost_table(unary, stream, relay, load.in_flight), memory_table(stream), latency_table(latency))
    console.print(throughput_table(measure_throughput()))


def measure_against(console: Console, revision: str, count: int, load: Load) -> None:
    """Measures this checkout and another revision in turn."""
    with checkout_of(revision) as checkout:
        generate_protos(checkout)
        for stream, kind in ((False, "unary request"), (True, f"{TOKENS}-token stream")):
            rounds: list[Round] = []
            for each in compare(checkout, HERE, count, load, stream=stream):
                rounds.append(each)
                console.print(f"{kind}, round {len(rounds)}: here ÷ {revision} = {each.ratio:.3f}")
            title = f"CPU-ms of a {kind} at {load.in_flight} in flight"
            console.print(comparison_table(rounds, revision, title))


if __name__ == "__main__":
    main()
