"""What the mesh adds to the latency of a request: `python -m bench.latency`, with either database."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

from rich.console import Console
from rich.table import Table

from bench.cost import RunningRelay, running_relay, send
from bench.direct import generate
from bench.ledger import postgres_server
from bench.load import Order, request_body
from bench.machine import describe_machine
from bench.mesh import RunningMesh, running_mesh
from services.runner.engines.simulated import SimulatedEngine
from services.runner.kinds.text.job import Job, Sampling
from tests.support.postgres import create_database

REQUESTS = 300
# Requests in flight, and how many are sent in each round.
LOADS = {1: 300, 32: 1500, 256: 3000}


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one-token requests, one in flight."""

    mesh_median: float
    mesh_p99: float
    engine_median: float


@dataclass(frozen=True)
class Percentiles:
    """Milliseconds of one-token requests through the mesh, and past it through the bare relay."""

    mesh_median: float
    mesh_p99: float
    relay_median: float
    relay_p99: float


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m bench.latency", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of mesh and relay in turn")
    rounds = parser.parse_args().rounds
    console = Console()
    console.print(describe_machine(), soft_wrap=True)
    table = Table("database", "in flight", "p50, ms", "p99, ms", "added p50", "added p99", "relay p50", "relay p99",
                  title="One-token requests; added is beyond the engine's own time")  # fmt: skip
    engine = asyncio.run(_engine_median(REQUESTS))
    with running_relay() as relay:
        for name in ("SQLite", "PostgreSQL"):
            with _mesh_on(name) as mesh:
                for in_flight in LOADS:
                    found = _measure(mesh, relay, in_flight, rounds)
                    values = (found.mesh_median, found.mesh_p99, found.mesh_median - engine, found.mesh_p99 - engine)
                    figures = (f"{value:.2f}" for value in (*values, found.relay_median, found.relay_p99))
                    table.add_row(name, str(in_flight), *figures)
            table.add_section()
    console.print(table)


@contextmanager
def _mesh_on(database: str) -> Iterator[RunningMesh]:
    """Starts a mesh whose ledger and keys are in the database, which syncs every commit."""
    if database == "SQLite":
        with running_mesh(slots=max(LOADS)) as mesh:
            yield mesh
        return
    with postgres_server() as server:
        settings = {f"TIERMESH_{name}_DATABASE_URL": create_database(server.url) for name in ("AUTH", "BILLING")}
        with running_mesh(slots=max(LOADS), settings=settings) as mesh:
            yield mesh


def _measure(mesh: RunningMesh, relay: RunningRelay, in_flight: int, rounds: int) -> Percentiles:
    """Returns the medians over the rounds."""
    orders = [
        _order(mesh.base_url + "/chat/completions", mesh.api_key, LOADS[in_flight], in_flight),
        _order(relay.url, "none", LOADS[in_flight], in_flight),
    ]
    for order in orders:
        send(order)
    found: list[list[tuple[float, float]]] = [[], []]
    for number in range(rounds):
        for at in (0, 1) if number % 2 else (1, 0):
            found[at].append(_percentiles(send(orders[at]).latencies))
    return Percentiles(*(median(each) for measured in found for each in zip(*measured, strict=True)))


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
