"""The engine over the library's own model, caches and attention, on the CPU: loaded as on a GPU, in 16 bits."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import exllamav2
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.gpu import checks
from tests.gpu.place import GPU
from tests.support.answer_contract import QUESTIONS
from tests.support.engine_contract import job
from tests.support.recording import Recording, generate, submit
from tests.torch.stand_in.checkpoint import write_checkpoint
from tests.torch.stand_in.library import pretend_a_gpu

# What the scripts for GPU machines do, with the reference on the CPU.
PLACE = replace(GPU, device="cpu")


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the model that the tests on a GPU run."""
    pretend_a_gpu(monkeypatch)
    return write_checkpoint(tmp_path / "model", GPU.tiny)


async def test_log_probabilities_are_those_of_transformers(model: Path) -> None:
    figures = await checks.check_logits(PLACE, model)
    assert figures["values"] > 1000


async def test_several_answers_share_the_cache_and_give_it_back(model: Path) -> None:
    async with PLACE.engine(model, slots=4) as engine:
        alone = [await generate(engine, job(engine, question, max_tokens=8)) for question in QUESTIONS]
        together = [submit(engine, job(engine, question, max_tokens=8)) for question in QUESTIONS]
        for one, other in zip(alone, together, strict=True):
            assert (await other.end()).token_ids == one.token_ids
        assert (engine.facts().gpus, engine.facts().gpu_memory_used) == (("GPU 0",), 1)
        assert engine.facts().pages_free == engine.facts().pages_total


async def test_drafts_change_nothing(model: Path) -> None:
    answers = []
    for draft_path in (None, model):
        async with PLACE.engine(model, draft_path=draft_path) as engine:
            answers.append((await generate(engine, job(engine, max_tokens=24))).token_ids)
    assert answers[0] == answers[1]


async def test_an_adapter_does_what_its_weights_merged_would_do(model: Path, tmp_path: Path) -> None:
    random = torch.Generator().manual_seed(1)
    down, up = (0.3 * torch.randn(*shape, generator=random) for shape in ((4, GPU.tiny.hidden), (GPU.tiny.hidden, 4)))
    adapter, merged = tmp_path / "adapter", tmp_path / "merged"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"r": 4, "lora_alpha": 2}))
    name = "model.layers.0.self_attn.o_proj"
    save_file(
        {f"base_model.model.{name}.lora_A.weight": down, f"base_model.model.{name}.lora_B.weight": up},
        adapter / "adapter_model.safetensors",
    )
    shutil.copytree(model, merged)
    weights = load_file(model / "model.safetensors")
    weights[f"{name}.weight"] = (weights[f"{name}.weight"].float() + 2 / 4 * up @ down).half()
    save_file(weights, merged / "model.safetensors")
    plain, adapted, wanted = [
        await _said(folder, lora_paths=paths) for folder, paths in ((model, ()), (model, (adapter,)), (merged, ()))
    ]
    assert adapted.token_ids == wanted.token_ids != plain.token_ids
    for one, other in zip(adapted.logprobs, wanted.logprobs, strict=True):
        assert abs(one.logprob - other.logprob) < 0.05


async def _said(model: Path, **options: Any) -> Recording:
    async with PLACE.engine(model, **options) as engine:
        return await generate(engine, job(engine, max_tokens=16, logprobs=0))


async def test_closing_frees_the_model(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    real = exllamav2.ExLlamaV2

    def make(config: Any) -> Any:
        made.append(real(config))
        return made[-1]

    monkeypatch.setattr(exllamav2, "ExLlamaV2", make)
    async with PLACE.engine(model):
        assert len(made[0].modules) > 0
    assert made[0].modules == []
