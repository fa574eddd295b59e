"""Tokens a second: through the engine alone, and through a runner behind the whole mesh."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench.cost import send
from bench.load import Order
from services.runner.engines.exllamav2 import ExLlamaV2Engine
from tests.gpu.models import endless_model, real_model
from tests.gpu.place import Place
from tests.gpu.report import Figures
from tests.support.engine_contract import job
from tests.support.mesh import LocalMesh
from tests.support.process import ServiceProcess
from tests.support.recording import Recording, submit
from tests.support.waiting import eventually
from tests.torch.stand_in.checkpoint import Shape

MODEL = "tiermesh-gpu"
SLOTS, CONTEXT = 32, 1024
# What `bench.load` asks, so that both ways do the same work.
QUESTION = "Tell me about the history of the bridge over the river."
# Every client sends so many requests, one after the other, after one that only warms up.
ROUNDS = 2
# What the largest model may take to load.
_LOADING_SECONDS = 150.0
CATALOG = f"""\
models:
  - {{id: tiermesh-pro, kind: chat, tier: pro, price: 1, context: 4096}}
  - {{id: {MODEL}, kind: chat, tier: gpu, price: 1, context: {CONTEXT}}}
"""


async def alone(place: Place, work: Path) -> Figures:
    """Measures the engine with the real model; answers that end early count with the tokens that they have."""
    model = real_model(place, work / "model", work / "models")
    figures: Figures = {}
    async with place.engine(model, slots=SLOTS, context=CONTEXT, prefill_chunk=512, speed=place.speed) as engine:
        for clients in place.in_flight:
            rate, first = await _measure(engine, clients, place.tokens)
            figures[f"at {clients}"] = f"{rate:.0f} tokens/s, first after {1000 * first:.0f} ms"
    return figures


async def compare(place: Place, name: str, shape: Shape, work: Path) -> Figures:
    """Measures the engine alone, then the same load through edge, router and runner, and divides.

    The model is random, as its speed does not depend on what it says, and its answers have all their tokens.
    """
    model = await asyncio.to_thread(endless_model, work / "models", name, shape)
    engine_rates: dict[int, float] = {}
    firsts: dict[int, float] = {}
    async with place.engine(model, slots=SLOTS, context=CONTEXT, prefill_chunk=512, speed=place.speed) as engine:
        for clients in place.in_flight:
            engine_rates[clients], firsts[clients] = await _measure(engine, clients, place.tokens)
    async with _mesh(place, model, work) as mesh:
        mesh_rates = {
            clients: await asyncio.to_thread(_through, mesh, clients, place.tokens) for clients in place.in_flight
        }
    figures: Figures = {}
    for clients in place.in_flight:
        ratio = 100 * mesh_rates[clients] / engine_rates[clients]
        figures[f"at {clients}"] = (
            f"engine {engine_rates[clients]:.0f} tokens/s (first after {1000 * firsts[clients]:.0f} ms), "
            f"mesh {mesh_rates[clients]:.0f} tokens/s = {ratio:.1f} %"
        )
    return figures


async def _measure(engine: ExLlamaV2Engine, clients: int, tokens: int) -> tuple[float, float]:
    """Returns tokens a second over all clients, and the median seconds to the first token."""
    firsts: list[float] = []
    # Made once: rendering it again for every answer would be counted as the engine's time.
    asked = job(engine, QUESTION, max_tokens=tokens)

    async def client() -> int:
        produced = 0
        for _ in range(ROUNDS):
            began = time.perf_counter()
            recording = submit(engine, asked)
            await recording.tokens(1, timeout=120)
            firsts.append(time.perf_counter() - began)
            produced += _count(await recording.end(timeout=120))
        return produced

    for recording in [submit(engine, asked) for _ in range(clients)]:
        await recording.end(timeout=120)
    began = time.perf_counter()
    produced = sum(await asyncio.gather(*(client() for _ in range(clients))))
    return produced / (time.perf_counter() - began), statistics.median(firsts)


def _count(recording: Recording) -> int:
    return recording.usage.completion_tokens


@asynccontextmanager
async def _mesh(place: Place, model: Path, work: Path) -> AsyncIterator[LocalMesh]:
    """Starts a mesh whose tier `gpu` is served by a runner with this model."""
    with tempfile.TemporaryDirectory(prefix="mesh-", dir=work) as name:
        folder = Path(name)
        catalog = folder / "models.yaml"
        catalog.write_text(CATALOG)
        async with LocalMesh(folder, "--models", str(catalog)) as mesh:
            fields = {
                "engine": "exllamav2",
                "model_path": str(model),
                "slots": str(SLOTS),
                "context": str(CONTEXT),
                "tier": "gpu",
                "simulated_speed": str(place.speed),
                "catalog_file": str(catalog),
                **mesh.etcd_settings,
            }
            runner = ServiceProcess("runner", folder, fields, module=place.runner_module)
            try:
                runner.spawn()
                await eventually(runner.ready, _LOADING_SECONDS)
                await eventually(lambda: len(mesh.command_now("runners")) == 2, timeout=30)
                yield mesh
            except BaseException:
                print(runner.log()[-4000:], flush=True)
                raise
            finally:
                await runner.kill()


def _through(mesh: LocalMesh, clients: int, tokens: int) -> float:
    """Returns tokens a second through the mesh; every request streams."""

    def order(requests: int) -> Order:
        return Order(
            url=mesh.base_url + "/chat/completions",
            api_key=mesh.unlimited_key,
            model=MODEL,
            requests=requests,
            in_flight=clients,
            stream=True,
            max_tokens=tokens,
        )

    send(order(clients))
    # The model's answers do not end by themselves, so every one of them has all its tokens.
    return ROUNDS * clients * tokens / send(order(ROUNDS * clients)).seconds
