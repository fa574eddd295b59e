"""What the mesh adds to the latency of a request when nothing else is going on."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from bench.cost import send
from bench.direct import generate
from bench.load import Order, request_body
from bench.mesh import RunningMesh
from services.runner.engines.simulated import SimulatedEngine
from services.runner.kinds.text.job import Job, Sampling

REQUESTS = 300


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one-token requests, one in flight."""

    mesh_median: float
    mesh_p99: float
    engine_median: float


def measure_latency(mesh: RunningMesh) -> Latency:
    """Measures whole requests through the mesh and the same job given to the engine directly."""
    url = mesh.base_url + "/chat/completions"
    order = Order(url=url, api_key=mesh.api_key, model="tiermesh-pro", requests=REQUESTS, in_flight=1, stream=False,
                  max_tokens=1)  # fmt: skip
    latencies = send(order).latencies
    return Latency(
        mesh_median=latencies[REQUESTS // 2] * 1000,
        mesh_p99=latencies[REQUESTS * 99 // 100] * 1000,
        engine_median=asyncio.run(_engine_median(order)) * 1000,
    )


async def _engine_median(order: Order) -> float:
    engine = SimulatedEngine(slots=1)
    await engine.start()
    prompt = request_body(order).decode()
    latencies = []
    for _ in range(REQUESTS):
        began = time.perf_counter()
        await generate(engine, Job("bench", prompt, Sampling(), max_tokens=1))
        latencies.append(time.perf_counter() - began)
    await engine.close()
    return sorted(latencies)[REQUESTS // 2]
