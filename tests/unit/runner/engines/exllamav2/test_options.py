"""The engine's options, and how the runner's settings become them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from services.common.settings import SettingsError, load_settings
from services.runner.engines.choice import build_engine
from services.runner.engines.exllamav2 import ExLlamaV2Engine, ExLlamaV2Options
from services.runner.kinds.text.engine import TextEngine
from services.runner.settings import RunnerSettings

MODEL = Path("model")


def test_the_cache_holds_every_slot_at_its_fullest() -> None:
    # 1000 tokens of context take 4 pages of 256 tokens; with 5 drafted tokens more, still 4.
    assert ExLlamaV2Options(MODEL, slots=3, context=1000).total_tokens == 3 * 1024
    drafting = ExLlamaV2Options(MODEL, slots=3, context=1020, draft_path=Path("draft"), draft_tokens=5)
    assert drafting.total_tokens == 3 * 1280
    assert ExLlamaV2Options(MODEL, cache_tokens=512).total_tokens == 512


def test_a_forward_pass_has_room_for_every_draft_of_a_full_batch() -> None:
    assert ExLlamaV2Options(MODEL, slots=4, prefill_chunk=512).input_tokens == 512
    assert ExLlamaV2Options(MODEL, slots=100, prefill_chunk=512).input_tokens == 1024


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"slots": 0}, "SLOTS"),
        ({"context": 1}, "CONTEXT"),
        ({"prefill_chunk": 100}, "PREFILL_CHUNK"),
        ({"prefill_chunk": 0}, "PREFILL_CHUNK"),
        ({"cache_tokens": 1000}, "CACHE_TOKENS"),
        ({"cache_tokens": -256}, "CACHE_TOKENS"),
        ({"draft_tokens": 8}, "DRAFT_TOKENS"),
        ({"gpu_split": (20.0, 0.0)}, "GPU_SPLIT"),
        ({"draft_path": MODEL, "vision": True}, "DRAFT_PATH"),
        ({"draft_path": MODEL, "tensor_parallel": True}, "DRAFT_PATH"),
        ({"lora_paths": (MODEL,), "tensor_parallel": True}, "LORA_PATHS"),
    ],
)
def test_what_cannot_work_is_refused_by_name(fields: dict[str, Any], name: str) -> None:
    with pytest.raises(SettingsError, match=name):
        ExLlamaV2Options(MODEL, **fields)


def test_settings_choose_the_engine() -> None:
    given = {
        "ENGINE": "exllamav2",
        "MODEL_PATH": "/models/a",
        "CONTEXT": "8192",
        "EXLLAMAV2_CACHE_TOKENS": "4096",
        "EXLLAMAV2_CACHE_FORMAT": "q8",
        "EXLLAMAV2_GPU_SPLIT": "20, 23.5",
        "EXLLAMAV2_LORA_PATHS": "/loras/a,/loras/b",
        "EXLLAMAV2_VISION": "true",
    }
    settings = load_settings(
        RunnerSettings, "runner", {f"TIERMESH_RUNNER_{name}": value for name, value in given.items()}
    )
    engine = build_engine(settings)
    assert isinstance(engine, ExLlamaV2Engine)
    assert isinstance(engine, TextEngine)
    # A job can be no larger than the whole cache.
    assert (engine.name, engine.kind, engine.slots, engine.context) == ("exllamav2", "chat", 4, 4096)


@pytest.mark.parametrize(
    ("name", "value"), [("MODEL_PATH", ""), ("EXLLAMAV2_GPU_SPLIT", "much"), ("EXLLAMAV2_CACHE_FORMAT", "q5")]
)
def test_wrong_settings_are_named(name: str, value: str) -> None:
    given = {"ENGINE": "exllamav2", "MODEL_PATH": "/models/a", name: value}
    environ = {f"TIERMESH_RUNNER_{field}": text for field, text in given.items()}
    with pytest.raises(SettingsError, match=f"TIERMESH_RUNNER_{name}"):
        build_engine(load_settings(RunnerSettings, "runner", environ))
