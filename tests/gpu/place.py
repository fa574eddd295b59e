"""Where the engine runs: on a GPU, or over the stand-in of the tests, so that these scripts themselves are tested."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.runner.engines.exllamav2 import ExLlamaV2Engine, ExLlamaV2Options
from tests.torch.stand_in.checkpoint import Shape


@dataclass(frozen=True)
class Place:
    """What differs between the two."""

    stand_in: bool
    # Where transformers computes what it is compared with.
    device: str
    # The process that is a runner with this engine.
    runner_module: str
    # The random model of the tests.
    tiny: Shape
    # The random models that speed is measured with, by name.
    random: dict[str, Shape]
    # The most that log probabilities may differ from transformers', on average and ever.
    mean_error: float
    largest_error: float
    # Answers at once, tokens of each, and prompts that are compared.
    in_flight: tuple[int, ...]
    tokens: int
    prompts: int
    # Tokens a second over all answers, to which the stand-in is slowed down for measurements; 0 for no bound.
    speed: float = 0.0

    @asynccontextmanager
    async def engine(self, model: Path, **options: Any) -> AsyncIterator[ExLlamaV2Engine]:
        """Starts an engine and closes it at the end; `options` are those of ExLlamaV2Options."""
        options = {"slots": 8, "context": 1024, "prefill_chunk": 256, **options}
        speed = options.pop("speed", 0.0)
        if self.stand_in:
            from tests.torch.stand_in.engine import StandIn, stand_in_engine

            engine = stand_in_engine(model, StandIn(tokens_per_second=speed), **options)
        else:
            engine = ExLlamaV2Engine(ExLlamaV2Options(model, **options))
        try:
            await engine.start()
            yield engine
        finally:
            await engine.close()


GPU = Place(
    stand_in=False,
    device="cuda",
    runner_module="services.runner",
    # The least that the kernels are known to take: heads of 64.
    tiny=Shape(hidden=256, layers=2, heads=4, key_heads=2, inner=512),
    # About one billion and three billion parameters.
    random={
        "1b": Shape(hidden=2048, layers=16, heads=32, key_heads=8, inner=8192),
        "3b": Shape(hidden=3072, layers=28, heads=24, key_heads=8, inner=8192),
    },
    # Sixteen-bit arithmetic against 32 bits.
    mean_error=0.03,
    largest_error=0.5,
    in_flight=(1, 8, 32),
    tokens=256,
    prompts=32,
)
STAND_IN = Place(
    stand_in=True,
    device="cpu",
    runner_module="tests.torch.stand_in.runner",
    tiny=Shape(),
    random={"tiny": Shape()},
    mean_error=1e-4,
    largest_error=1e-3,
    in_flight=(1, 8),
    tokens=24,
    prompts=4,
    speed=200.0,
)
