"""The engine that the runner's settings ask for."""

from __future__ import annotations

from pathlib import Path

from services.common.settings import SettingsError, split_list
from services.runner.engines.exllamav2.engine import ExLlamaV2Engine
from services.runner.engines.exllamav2.options import ExLlamaV2Options
from services.runner.settings import RunnerSettings


def configured_engine(settings: RunnerSettings) -> ExLlamaV2Engine:
    """Returns an engine that has not been started yet; raises SettingsError, which names the setting."""
    if not settings.model_path:
        raise SettingsError("TIERMESH_RUNNER_MODEL_PATH must name the model's directory for the exllamav2 engine")
    draft = settings.exllamav2_draft_path
    options = ExLlamaV2Options(
        model_path=Path(settings.model_path),
        slots=settings.slots,
        context=settings.context,
        cache_tokens=settings.exllamav2_cache_tokens,
        cache_format=settings.exllamav2_cache_format,
        prefill_chunk=settings.exllamav2_prefill_chunk,
        gpu_split=_gpu_split(settings.exllamav2_gpu_split),
        tensor_parallel=settings.exllamav2_tensor_parallel,
        draft_path=Path(draft) if draft else None,
        draft_tokens=settings.exllamav2_draft_tokens,
        lora_paths=tuple(map(Path, split_list(settings.exllamav2_lora_paths))),
        vision=settings.exllamav2_vision,
    )
    return ExLlamaV2Engine(options)


def _gpu_split(value: str) -> tuple[float, ...]:
    try:
        return tuple(map(float, split_list(value)))
    except ValueError:
        name = "TIERMESH_RUNNER_EXLLAMAV2_GPU_SPLIT"
        raise SettingsError(f"{name}: {value!r} is not a comma-separated list of numbers") from None
