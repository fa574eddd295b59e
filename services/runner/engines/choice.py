"""Builds the engine that the settings ask for, with a model of `demonstrations` where they name none.

Only the chosen one is imported: engines are heavy.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from services.common.files.cache_directory import default_cache
from services.common.settings import SettingsError, split_list
from services.common.telemetry.logs import get_logger
from services.runner.demonstrations.packaged import find_smollm2, find_whisper_tiny
from services.runner.engines.base import AnyEngine
from services.runner.settings import RunnerSettings

log = get_logger()


def build_engine(settings: RunnerSettings, *, vision: bool = False) -> AnyEngine:
    """Returns an engine that has not been started yet; `vision` says whether it must serve models that see images.

    It takes seconds where a demonstration model must be made first. Raises SettingsError, and OSError or ValueError for
    a model that is missing or cannot be made.
    """
    builders: dict[str, Callable[[RunnerSettings], AnyEngine]] = {
        "llamacpp": partial(_llamacpp, vision=vision),
        "exllamav2": _exllamav2,
        "upstream": _upstream,
        "simulated": _simulated,
        "minilm": _minilm,
        "nanotts": _nanotts,
        "whisper": _whisper,
        "diffusers": _diffusers,
    }
    return builders[settings.engine](settings)


def _llamacpp(settings: RunnerSettings, *, vision: bool) -> AnyEngine:
    from services.runner.engines.llamacpp import LlamaCppEngine

    path = Path(settings.model_path) if settings.model_path else find_smollm2()
    projector = Path(settings.mmproj_path) if settings.mmproj_path else None
    around_images = ("", "")
    if vision and projector is None and settings.model_path:
        raise SettingsError(
            "TIERMESH_RUNNER_MMPROJ_PATH: a model of this runner is sold with vision; name the image encoder "
            "(mmproj) that belongs to the model file, or choose models without vision by TIERMESH_RUNNER_MODELS"
        )
    if vision and projector is None:
        from services.runner.demonstrations.colour_projector import AROUND_IMAGES, colour_projector

        projector, around_images = colour_projector(_cache(settings), path), AROUND_IMAGES
    return LlamaCppEngine(
        path,
        slots=settings.slots,
        context=settings.context,
        threads=settings.threads,
        projector=projector,
        around_images=around_images,
    )


def _exllamav2(settings: RunnerSettings) -> AnyEngine:
    from services.runner.engines.exllamav2.configured import configured_engine

    return configured_engine(settings)


def _upstream(settings: RunnerSettings) -> AnyEngine:
    from services.runner.engines.upstream.kinds import configured_engine

    return configured_engine(settings, _shorter_dimensions(settings))


def _simulated(settings: RunnerSettings) -> AnyEngine:
    from services.runner.engines.simulated import ScriptError, SimulatedEngine, load_script

    try:
        script = load_script(settings.simulated_script) if settings.simulated_script else None
    except ScriptError as error:
        raise SettingsError(f"TIERMESH_RUNNER_SIMULATED_SCRIPT: {error}") from error
    return SimulatedEngine(
        slots=settings.slots,
        context=settings.context,
        prefill_tokens_per_second=settings.simulated_prefill_speed,
        tokens_per_second=settings.simulated_speed,
        fail_after_tokens=settings.simulated_fail_after or None,
        script=script,
    )


def _nanotts(settings: RunnerSettings) -> AnyEngine:
    from services.runner.engines.nanotts import NanoTtsEngine

    return NanoTtsEngine(slots=settings.slots)


def _whisper(settings: RunnerSettings) -> AnyEngine:
    from services.runner.engines.whisper import WhisperEngine

    path = Path(settings.model_path) if settings.model_path else find_whisper_tiny()
    return WhisperEngine(path, slots=settings.slots, threads=settings.threads, most_seconds=settings.max_audio_seconds)


def _diffusers(settings: RunnerSettings) -> AnyEngine:
    from services.runner.engines.diffusers import DiffusersEngine

    if settings.model_path:
        return DiffusersEngine(Path(settings.model_path), slots=settings.slots, threads=settings.threads)
    from services.runner.demonstrations.random_diffusion import STEPS, random_diffusion

    path = random_diffusion(_cache(settings))
    log.warning("demonstration_model", engine="diffusers", detail="random weights: every image is noise")
    return DiffusersEngine(path, slots=settings.slots, threads=settings.threads, steps=STEPS)


def _minilm(settings: RunnerSettings) -> AnyEngine:
    from services.runner.engines.minilm import MiniLmEngine

    return MiniLmEngine(
        Path(settings.model_path) if settings.model_path else _packaged_minilm(settings),
        slots=settings.slots,
        context=settings.context,
        threads=settings.threads,
        shorter_dimensions=_shorter_dimensions(settings),
    )


def _packaged_minilm(settings: RunnerSettings) -> Path:
    from services.runner.demonstrations.minilm import minilm

    return minilm(_cache(settings))


def _cache(settings: RunnerSettings) -> Path:
    return Path(settings.cache_dir) if settings.cache_dir else default_cache()


def _shorter_dimensions(settings: RunnerSettings) -> list[int]:
    return _whole_numbers("TIERMESH_RUNNER_SHORTER_DIMENSIONS", settings.shorter_dimensions)


def _whole_numbers(name: str, value: str) -> list[int]:
    """Splits a comma-separated list of whole numbers; raises SettingsError, naming the setting."""
    parts = split_list(value)
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise SettingsError(f"{name}: {value!r} is not a comma-separated list of whole numbers")
    return [int(part) for part in parts]
