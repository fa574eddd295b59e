"""Tokens a second of a real llama.cpp server, alone and through the mesh: `python -m bench.upstream`.

Rounds of both follow each other in one run, and the ratio within a round is what counts. The tiny model has random
weights and costs next to nothing, so that the mesh is most of the work; the packaged one is a real model. The server,
the mesh and the client share the cores: the table also says which share of the CPU time the mesh took.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console
from rich.table import Table

from bench.cost import send
from bench.load import Order
from bench.machine import describe_machine
from bench.mesh import HERE, RunningMesh, running_mesh
from bench.processes import cpu_seconds
from services.common.http.kept_connections import new_session
from services.runner.demonstrations.packaged import find_smollm2
from services.runner.engines.upstream.body import request_body
from services.runner.engines.upstream.server import find_server
from services.runner.kinds.conversation.job import ConversationJob
from services.runner.kinds.text.job import Sampling
from tests.support.random_gguf import write_random_gguf

# Requests in flight, and how many requests each of them measures in a round.
LOADS = {1: 6, 8: 32, 32: 96}
SLOTS, CONTEXT, TOKENS = 32, 512, 128
TARGET = 0.97


@dataclass(frozen=True)
class Server:
    """A llama.cpp server that runs."""

    url: str
    pid: int


@dataclass(frozen=True)
class Round:
    """Tokens a second in one round, and the mesh's share of the CPU time of server and mesh."""

    alone: float
    mesh: float
    share: float


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m bench.upstream", description=__doc__)
    parser.add_argument("--model", choices=["tiny", "packaged"], action="append", help="both, if none is named")
    parser.add_argument("--in-flight", type=int, action="append", choices=LOADS, help="1, 8 and 32, if none is named")
    parser.add_argument("--rounds", type=int, default=6, help="at best an even number")
    arguments = parser.parse_args()
    console = Console()
    console.print(describe_machine(), soft_wrap=True)
    with tempfile.TemporaryDirectory(prefix="tiermesh-bench-") as folder:
        models: dict[str, Callable[[], Path]] = {
            "tiny": lambda: write_random_gguf(Path(folder) / "tiny.gguf"),
            "packaged": find_smollm2,
        }
        for name in arguments.model or models:
            measured = measure(console, models[name](), arguments.in_flight or [*LOADS], arguments.rounds)
            console.print(table(name, measured))


def measure(console: Console, model: Path, loads: list[int], rounds: int) -> dict[int, list[Round]]:
    """Returns the rounds by the number of requests in flight."""
    with (
        running_server(model) as server,
        running_mesh(slots=SLOTS, engine="llamacpp", options=("--upstream", server.url, "--no-console")) as mesh,
    ):
        measured: dict[int, list[Round]] = {}
        for in_flight in loads:
            alone = order(f"{server.url}/v1", "none", in_flight, **asyncio.run(fields_of_the_runner(server.url)))
            through = order(mesh.base_url, mesh.api_key, in_flight)
            for each in (alone, through):
                send(each)
            measured[in_flight] = []
            for number in range(rounds):
                measured[in_flight].append(measure_round(server, mesh, alone, through, mesh_first=bool(number % 2)))
                console.print(f"{in_flight} in flight, round {number + 1}: {ratio(measured[in_flight][-1]):.3f}")
    return measured


def measure_round(server: Server, mesh: RunningMesh, alone: Order, through: Order, *, mesh_first: bool) -> Round:
    """Sends the same requests to the server and through the mesh, one after the other."""
    speeds: dict[bool, float] = {}
    share = 0.0
    for is_mesh in (mesh_first, not mesh_first):
        pids = {**mesh.pids, "server": server.pid}
        before = cpu_seconds(pids)
        result = send(through if is_mesh else alone)
        speeds[is_mesh] = result.tokens / result.seconds
        if is_mesh:
            used = {name: after - before[name] for name, after in cpu_seconds(pids).items()}
            share = 1 - used["server"] / sum(used.values())
    return Round(speeds[False], speeds[True], share)


def order(base_url: str, api_key: str, in_flight: int, **fields: Any) -> Order:
    """Returns the requests of one round: the same for both."""
    request = urllib.request.Request(f"{base_url}/models", headers={"Authorization": f"Bearer {api_key}"})
    with urllib.request.urlopen(request) as response:
        models = [entry["id"] for entry in json.load(response)["data"]]
    # A mesh sells others beside it.
    (model,) = [name for name in models if not name.startswith("tiermesh-")]
    return Order(url=f"{base_url}/chat/completions", api_key=api_key, model=model, requests=LOADS[in_flight],
                 in_flight=in_flight, stream=True, max_tokens=TOKENS,
                 extra={"stream_options": {"include_usage": True}, **fields})  # fmt: skip


async def fields_of_the_runner(url: str) -> dict[str, Any]:
    """Returns what the runner asks of the server beside the messages: other parameters cost other work."""
    async with new_session(timeout=aiohttp.ClientTimeout(total=10)) as session:
        server = await find_server(session, url, "")
    fields = request_body(ConversationJob("bench", [], Sampling(temperature=0), max_tokens=TOKENS), server)
    del fields["messages"]
    return fields


@contextmanager
def running_server(model: Path) -> Iterator[Server]:
    """Starts a llama.cpp server with a slot for each request in flight, and kills it at the end."""
    arguments = (str(model), "", str(SLOTS), str(CONTEXT), "chat")
    command = [sys.executable, "-m", "tests.support.llamacpp_server", *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HERE) as process:
        assert process.stdout is not None
        try:
            url = process.stdout.readline().strip()
            if not url:
                raise RuntimeError("the server did not start")
            yield Server(url, process.pid)
        finally:
            process.kill()


def ratio(measured: Round) -> float:
    """Returns the throughput through the mesh as a share of that of the server alone."""
    return measured.mesh / measured.alone


def table(model: str, measured: dict[int, list[Round]]) -> Table:
    """Returns medians over the rounds."""
    made = Table("in flight", "alone, tokens/s", "through the mesh", "mesh ÷ alone", "least to most", "CPU of the mesh",
                 title=f"llama.cpp server with the {model} model (target {TARGET:.0%})")  # fmt: skip
    for in_flight, rounds in measured.items():
        ratios = sorted(ratio(each) for each in rounds)
        made.add_row(
            str(in_flight),
            f"{statistics.median(each.alone for each in rounds):.0f}",
            f"{statistics.median(each.mesh for each in rounds):.0f}",
            f"{statistics.median(ratios):.3f}",
            f"{ratios[0]:.3f} to {ratios[-1]:.3f}",
            f"{statistics.median(each.share for each in rounds):.0%}",
        )
    return made


if __name__ == "__main__":
    main()
