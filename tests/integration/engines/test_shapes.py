"""Answers of random shapes: valid, cut or refused. For many: `make shapes SCHEMAS=500`."""

from __future__ import annotations

from pathlib import Path

from services.runner.engines.llamacpp import LlamaCppEngine
from services.runner.engines.simulated import SimulatedEngine
from tests.support.random_gguf import write_random_gguf
from tests.support.shapes import SCHEMAS, check


async def test_answers_of_random_shapes_by_llama_cpp(tmp_path: Path) -> None:
    engine = LlamaCppEngine(write_random_gguf(tmp_path / "random.gguf"), slots=4, context=2048, prefill_chunk=256)
    await engine.start()
    try:
        await check(engine, 0, SCHEMAS, 150)
    finally:
        await engine.close()


async def test_answers_of_random_shapes_by_the_simulated_engine() -> None:
    engine = SimulatedEngine()
    await engine.start()
    try:
        await check(engine, 20_000, SCHEMAS, 300)
    finally:
        await engine.close()
