"""Builds the engine that the settings ask for. Only the chosen one is imported: engines are heavy."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from services.common.settings import SettingsError, split_list
from services.runner.engines.base import AnyEngine
from services.runner.settings import RunnerSettings


def build_engine(settings: RunnerSettings, *, vision: bool = False) -> AnyEngine:
    """Returns an engine that has not been started yet; `vision` says whether it must serve models that see images."""
    builders: dict[str, Callable[[RunnerSettings], AnyEngine]] = {
        "llamacpp": partial(_llamacpp, vision=vision),
        "exllamav2": _exllamav2,
        "simulated": _simulated,
        "minilm": _minilm,
        "nanotts": _nanotts,
        "whisper": _whisper,
        "diffusers": _diffusers,
    }
    return builders[settings.engine](settings)


def _llamacpp(settings: RunnerSettings, *, vision: bool) -> AnyEngine:
    from services.runner.engines.llamacpp import LlamaCppEngine, find_smollm2

    path = Path(settings.model_path) if settings.model_path else find_smollm2()
    packaged = not settings.model_path and not settings.mmproj_path
    if vision and not packaged and not settings.mmproj_path:
        raise SettingsError(
            "TIERMESH_RUNNER_MMPROJ_PATH: a model of this runner is sold with vision; name the image encoder "
            "(mmproj) that belongs to the model file, or choose models without vision by TIERMESH_RUNNER_MODELS"
        )
    return LlamaCppEngine(
        path,
        slots=settings.slots,
        context=settings.context,
        threads=settings.threads,
        projector=Path(settings.mmproj_path) if settings.mmproj_path else None,
        colours=vision and packaged,
    )


def _exllamav2(settings: RunnerSettings) -> AnyEngine:
    from services.runner.engines.exllamav2.configured import configured_engine

    return configured_engine(settings)


def _simulated(settings: RunnerSettings) -> AnyEngine:
    from services.runner.engines.simulated import SimulatedEngine

    return SimulatedEngine(
        slots=settings.slots,
        context=settings.context,
        prefill_tokens_per_second=settings.simulated_prefill_speed,
        tokens_per_second=settings.simulated_speed,
        fail_after_tokens=settings.simulated_fail_after or None,
    )


def _nanotts(settings: RunnerSettings) -> AnyEngine:
    from services.runner.engines.nanotts import NanoTtsEngine

    return NanoTtsEngine(slots=settings.slots)


def _whisper(settings: RunnerSettings) -> AnyEngine:
    from services.runner.engines.whisper import WhisperEngine, find_whisper_tiny

    path = Path(settings.model_path) if settings.model_path else find_whisper_tiny()
    return WhisperEngine(path, slots=settings.slots, threads=settings.threads, most_seconds=settings.max_audio_seconds)


def _diffusers(settings: RunnerSettings) -> AnyEngine:
    from services.runner.engines.diffusers import DiffusersEngine

    path = Path(settings.model_path) if settings.model_path else None
    return DiffusersEngine(path, slots=settings.slots, threads=settings.threads)


def _minilm(settings: RunnerSettings) -> AnyEngine:
    from services.runner.engines.minilm import GgufModel, MiniLmEngine, PackagedMiniLm, default_cache

    cache = Path(settings.cache_dir) if settings.cache_dir else default_cache()
    return MiniLmEngine(
        GgufModel(Path(settings.model_path)) if settings.model_path else PackagedMiniLm(cache),
        slots=settings.slots,
        context=settings.context,
        threads=settings.threads,
        shorter_dimensions=_whole_numbers("TIERMESH_RUNNER_SHORTER_DIMENSIONS", settings.shorter_dimensions),
    )


def _whole_numbers(name: str, value: str) -> list[int]:
    """Splits a comma-separated list of whole numbers; raises SettingsError, naming the setting."""
    parts = split_list(value)
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise SettingsError(f"{name}: {value!r} is not a comma-separated list of whole numbers")
    return [int(part) for part in parts]
