"""Answers of random shapes by llama.cpp: valid, cut or refused. For many: `make shapes SCHEMAS=500`."""

from __future__ import annotations

from pathlib import Path

from services.runner.engines.llamacpp import LlamaCppEngine
from tests.support.random_gguf import write_random_gguf
from tests.support.shapes import SCHEMAS, check


async def test_answers_of_random_shapes(tmp_path: Path) -> None:
    engine = LlamaCppEngine(write_random_gguf(tmp_path / "random.gguf"), slots=4, context=2048, prefill_chunk=256)
    await engine.start()
    try:
        await check(engine, 0, SCHEMAS, 150)
    finally:
        await engine.close()
