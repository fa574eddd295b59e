"""What the mesh adds to the latency of a request: `python -m bench.latency`, with either database.

With `--against`, the mesh of another revision of git is measured in the same rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from bench.comparison.checkout import checkouts
from bench.cost import RunningRelay, running_relay, send
from bench.direct import generate
from bench.ledger import postgres_server
from bench.load import Order, request_body
from bench.machine import header
from bench.mesh import RunningMesh, running_mesh
from services.runner.engines.simulated import SimulatedEngine
from services.runner.kinds.text.job import Job, Sampling
from tests.support.postgres import create_database

REQUESTS = 300
# Requests in flight, and how many are sent in each round.
LOADS = {1: 300, 32: 1500, 256: 3000}
_RELAY = "bare relay"


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one-token requests, one in flight."""

    mesh_median: float
    mesh_p99: float
    engine_median: float


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m bench.latency", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of mesh and relay in turn")
    parser.add_argument("--against", metavar="REVISION", help="measure a revision of git in the same rounds")
    arguments = parser.parse_args()
    console = Console()
    console.print(header(), soft_wrap=True)
    table = Table("database", "in flight", "mesh", "p50, ms", "p99, ms", "added p50", "added p99", "relay p50",
                  "relay p99", title="One-token requests; added is beyond the engine's own time")  # fmt: skip
    engine = asyncio.run(_engine_median(REQUESTS))
    with running_relay() as relay, checkouts(arguments.against) as folders:
        for database in ("SQLite", "PostgreSQL"):
            with _meshes_on(database, folders) as meshes:
                for in_flight in LOADS:
                    found = _measure(meshes, relay, in_flight, arguments.rounds)
                    beside = found.pop(_RELAY)
                    for name, (p50, p99) in found.items():
                        figures = (f"{value:.2f}" for value in (p50, p99, p50 - engine, p99 - engine, *beside))
                        table.add_row(database, str(in_flight), name, *figures)
            table.add_section()
    console.print(table)


@contextmanager
def _meshes_on(database: str, folders: Mapping[str, Path]) -> Iterator[dict[str, RunningMesh]]:
    """Starts a mesh of each checkout whose ledger and keys are in a database that syncs every commit."""
    with ExitStack() as stack:
        server = stack.enter_context(postgres_server()) if database == "PostgreSQL" else None
        meshes = {}
        for name, checkout in folders.items():
            settings = {}
            if server is not None:
                services = ("AUTH", "BILLING")
                settings = {f"TIERMESH_{service}_DATABASE_URL": create_database(server.url) for service in services}
            mesh = running_mesh(slots=max(LOADS), checkout=checkout, settings=settings)
            meshes[name] = stack.enter_context(mesh)
        yield meshes


def _measure(
    meshes: Mapping[str, RunningMesh], relay: RunningRelay, in_flight: int, rounds: int
) -> dict[str, tuple[float, float]]:
    """Returns the medians over the rounds of p50 and p99 in milliseconds, those of the relay as well."""
    orders = {
        name: _order(mesh.base_url + "/chat/completions", mesh.api_key, LOADS[in_flight], in_flight)
        for name, mesh in meshes.items()
    }
    orders[_RELAY] = _order(relay.url, "none", LOADS[in_flight], in_flight)
    for order in orders.values():
        send(order)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in orders}
    for number in range(rounds):
        for name in orders if number % 2 else reversed(orders):
            found[name].append(_percentiles(send(orders[name]).latencies))
    return {name: (median(p50 for p50, _ in each), median(p99 for _, p99 in each)) for name, each in found.items()}


def _order(url: str, api_key: str, requests: int, in_flight: int) -> Order:
    return Order(url=url, api_key=api_key, model="tiermesh-pro", requests=requests, in_flight=in_flight, stream=False,
                 max_tokens=1)  # fmt: skip


def _percentiles(latencies: Sequence[float]) -> tuple[float, float]:
    """Returns the median and the 99th percentile of sorted latencies, in milliseconds."""
    return latencies[len(latencies) // 2] * 1000, latencies[len(latencies) * 99 // 100] * 1000


def measure_latency(mesh: RunningMesh) -> Latency:
    """Measures whole requests through the mesh and the same job given to the engine directly."""
    order = _order(mesh.base_url + "/chat/completions", mesh.api_key, REQUESTS, 1)
    return Latency(*_percentiles(send(order).latencies), asyncio.run(_engine_median(REQUESTS)))


async def _engine_median(requests: int) -> float:
    """Returns the milliseconds that the engine alone needs for such a request."""
    engine = SimulatedEngine(slots=1)
    await engine.start()
    prompt = request_body(_order("", "", requests, 1)).decode()
    latencies = []
    for _ in range(requests):
        began = time.perf_counter()
        await generate(engine, Job("bench", prompt, Sampling(), max_tokens=1))
        latencies.append(time.perf_counter() - began)
    await engine.close()
    return median(latencies) * 1000


if __name__ == "__main__":
    main()
