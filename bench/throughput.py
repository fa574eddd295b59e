"""Tokens a second through the mesh against the same engine driven directly."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from bench.cost import TOKENS, send
from bench.direct import generate
from bench.load import Order, request_body
from bench.mesh import running_mesh
from services.runner.engines.simulated import SimulatedEngine
from services.runner.kinds.text.job import Job, Sampling

# Like a GPU runner: 32 answers at once, each at 50 tokens a second.
IN_FLIGHT = 32
SPEED = 50.0
STREAMS = 160


@dataclass(frozen=True)
class Throughput:
    """Tokens a second over all streams."""

    direct: float
    mesh: float


def measure_throughput() -> Throughput:
    """Measures a simulated engine of fixed speed, alone and behind the mesh."""
    with running_mesh(slots=IN_FLIGHT, settings={"TIERMESH_RUNNER_SIMULATED_SPEED": str(SPEED)}) as mesh:
        url = mesh.base_url + "/chat/completions"
        order = Order(url=url, api_key=mesh.api_key, model="tiermesh-pro", requests=STREAMS, in_flight=IN_FLIGHT,
                      stream=True, max_tokens=TOKENS)  # fmt: skip
        result = send(order)
    return Throughput(direct=asyncio.run(_direct(order)), mesh=STREAMS * TOKENS / result.seconds)


async def _direct(order: Order) -> float:
    engine = SimulatedEngine(slots=IN_FLIGHT, tokens_per_second=SPEED)
    await engine.start()
    prompt = request_body(order).decode()
    left = STREAMS

    async def worker() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await generate(engine, Job("bench", prompt, Sampling(), max_tokens=TOKENS))

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))
    seconds = time.perf_counter() - began
    await engine.close()
    return STREAMS * TOKENS / seconds
