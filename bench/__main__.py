"""Prints what the mesh costs: CPU, memory, latency and throughput, beside a bare relay in the same run.

`make bench` runs it. CPU is the kernel's count of user and system time over every process of the mesh; the simulated
engine's own work is told apart by the engine itself. Machines are noisy: compare ratios of one run, not runs.
"""

from __future__ import annotations

import argparse

from rich.console import Console

from bench.cost import measure_mesh, measure_relay
from bench.latency import measure_latency
from bench.mesh import running_mesh
from bench.pace import STREAM_SPEED
from bench.report import cost_table, latency_table, memory_table, throughput_table
from bench.throughput import measure_throughput


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--requests", type=int, default=3000, help="unary requests for each figure")
    parser.add_argument("--streams", type=int, default=600, help="64-token streams for each figure")
    parser.add_argument("--in-flight", type=int, default=32, help="requests in flight")
    arguments = parser.parse_args()
    console = Console()
    relay = measure_relay(arguments.requests, arguments.streams, arguments.in_flight)
    with running_mesh(slots=64) as mesh:
        unary = measure_mesh(mesh, arguments.requests, arguments.in_flight, stream=False)
        latency = measure_latency(mesh)
    with running_mesh(slots=64, TIERMESH_RUNNER_SIMULATED_SPEED=str(STREAM_SPEED)) as mesh:
        stream = measure_mesh(mesh, arguments.streams, arguments.in_flight, stream=True)
    console.print(cost_table(unary, stream, relay, arguments.in_flight), memory_table(stream), latency_table(latency))
    console.print(throughput_table(measure_throughput()))


if __name__ == "__main__":
    main()
