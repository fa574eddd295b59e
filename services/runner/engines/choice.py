"""Builds the engine that the settings ask for. Only the chosen one is imported: engines are heavy."""

from __future__ import annotations

from pathlib import Path

from services.runner.engines.base import AnyEngine
from services.runner.settings import RunnerSettings


def build_engine(settings: RunnerSettings) -> AnyEngine:
    """Returns an engine that has not been started yet."""
    if settings.engine == "simulated":
        from services.runner.engines.simulated import SimulatedEngine

        return SimulatedEngine(
            slots=settings.slots,
            context=settings.context,
            prefill_tokens_per_second=settings.simulated_prefill_speed,
            tokens_per_second=settings.simulated_speed,
            fail_after_tokens=settings.simulated_fail_after or None,
        )
    from services.runner.engines.llamacpp import LlamaCppEngine, find_smollm2

    path = Path(settings.model_path) if settings.model_path else find_smollm2()
    return LlamaCppEngine(path, slots=settings.slots, context=settings.context, threads=settings.threads)
