"""Answers of random shapes by ExLlamaV2, over the stand-in: valid, cut or refused. For many: `make shapes`."""

from __future__ import annotations

from pathlib import Path

from tests.support.shapes import SCHEMAS, check
from tests.torch.stand_in.engine import running, stand_in_engine


async def test_answers_of_random_shapes(tiny_model: Path) -> None:
    async with running(stand_in_engine(tiny_model, context=4096)) as engine:
        await check(engine, 11_000, SCHEMAS, 250)
