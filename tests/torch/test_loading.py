"""How models come onto GPUs: each call fits the library's own signatures, and they come in the right order.

No GPU is at hand, so the classes that would load are replaced by ones that only have the same signatures.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import Mock, create_autospec

import exllamav2
import pytest
import torch

from services.runner.engines.exllamav2.backend import load_backend
from services.runner.engines.exllamav2.model_directory import read_model_directory
from services.runner.engines.exllamav2.options import ExLlamaV2Options
from tests.torch.stand_in import engine  # noqa: F401 - importing it keeps the library from compiling its extension

REPLACED = (
    *("ExLlamaV2", "ExLlamaV2Cache", "ExLlamaV2Cache_Q4", "ExLlamaV2Cache_Q6", "ExLlamaV2Cache_Q8"),
    *("ExLlamaV2Cache_TP", "ExLlamaV2VisionTower"),
)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """Records the calls; every one is checked against the signature of the real class."""
    calls = Mock()
    for name in REPLACED:
        replaced = create_autospec(getattr(exllamav2, name))
        calls.attach_mock(replaced, name)
        monkeypatch.setattr(exllamav2, name, replaced)
    lora = create_autospec(exllamav2.ExLlamaV2Lora.from_directory)
    calls.attach_mock(lora, "lora")
    monkeypatch.setattr(exllamav2.ExLlamaV2Lora, "from_directory", lora)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    return calls


def load(model: Path, monkeypatch: pytest.MonkeyPatch, *, gpus: int, **fields: Any) -> Any:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    options = ExLlamaV2Options(model, **fields)
    draft = None if options.draft_path is None else read_model_directory(options.draft_path)
    return load_backend(options, read_model_directory(model), draft)


def names(calls: Mock) -> list[str]:
    return [call[0].replace("()", "") for call in calls.mock_calls]


@pytest.mark.parametrize("cache_format", ["fp16", "q8", "q6", "q4"])
def test_one_gpu_takes_all_layers(
    tiny_model: Path, library: Mock, monkeypatch: pytest.MonkeyPatch, cache_format: str
) -> None:
    backend = load(tiny_model, monkeypatch, gpus=1, cache_format=cache_format, lora_paths=(Path("/a"), Path("/b")))
    assert names(library) == ["ExLlamaV2", "ExLlamaV2.load", "lora", "lora"]
    assert library.ExLlamaV2.return_value.load.call_args.kwargs["gpu_split"] is None
    assert len(backend.loras) == 2
    backend._new_cache(backend.model)
    cache = "ExLlamaV2Cache" if cache_format == "fp16" else f"ExLlamaV2Cache_{cache_format.upper()}"
    assert names(library)[-1] == cache
    assert library.mock_calls[-1].kwargs["max_seq_len"] == backend.options.total_tokens


def test_over_several_gpus_what_comes_beside_the_model_has_its_room_first(
    tiny_model: Path, library: Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(tiny_model, monkeypatch, gpus=2, draft_path=tiny_model)
    draft = ["ExLlamaV2", "ExLlamaV2.load"]
    assert names(library) == [*draft, "ExLlamaV2", "ExLlamaV2Cache", "ExLlamaV2Cache", "ExLlamaV2.load_autosplit"]
    lazy, whole = library.ExLlamaV2Cache.call_args_list
    assert lazy.kwargs["lazy"]
    assert "lazy" not in whole.kwargs


def test_the_library_need_not_lower_what_it_may_read_at_once(
    tiny_model: Path, library: Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(tiny_model, monkeypatch, gpus=2, slots=300, context=1024)
    config = library.ExLlamaV2.call_args.args[0]
    # 300 drafts of 8 tokens; its generator refuses to work with less.
    assert config.max_input_len == 2560
    assert config.max_seq_len >= config.max_input_len


@pytest.mark.parametrize(("split", "given"), [((), None), ((20.0, 23.5), [20.0, 23.5])])
def test_layers_are_split_by_tensor_parallelism(
    tiny_model: Path, library: Mock, monkeypatch: pytest.MonkeyPatch, split: tuple[float, ...], given: object
) -> None:
    backend = load(tiny_model, monkeypatch, gpus=2, tensor_parallel=True, gpu_split=split, cache_format="q8")
    assert names(library) == ["ExLlamaV2", "ExLlamaV2.load_tp"]
    how = library.ExLlamaV2.return_value.load_tp.call_args.kwargs
    assert (how["gpu_split"], how["expect_cache_base"]) == (given, exllamav2.ExLlamaV2Cache_Q8)
    assert how["expect_cache_tokens"] == backend.options.total_tokens
    backend._new_cache(backend.model)
    assert names(library)[-1] == "ExLlamaV2Cache_TP"


def test_a_tower_for_images_is_loaded_before_the_model(
    tiny_model: Path, library: Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = load(tiny_model, monkeypatch, gpus=1, vision=True)
    assert names(library) == ["ExLlamaV2VisionTower", "ExLlamaV2VisionTower.load", "ExLlamaV2", "ExLlamaV2.load"]
    assert backend.vision_tower is library.ExLlamaV2VisionTower.return_value
