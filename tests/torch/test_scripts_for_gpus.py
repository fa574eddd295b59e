"""What `make test-gpu` and `make bench-gpu` do on a GPU, done over the stand-in: the scripts themselves are right."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.gpu import speed
from services.runner.engines.exllamav2.model_directory import read_model_directory
from tests.gpu import checks, models
from tests.gpu.attention_check import largest_error
from tests.gpu.flash_attention import flash_attn_func, flash_attn_varlen_func
from tests.gpu.place import STAND_IN
from tests.gpu.report import NotRunError
from tests.torch.stand_in.checkpoint import END, END_OF_TURN, write_checkpoint


def test_paged_attention_is_that_of_the_textbook() -> None:
    assert largest_error("cpu", torch.float64) < 1e-12
    assert largest_error("cpu", torch.float32) < 1e-5


def test_a_window_and_a_soft_cap_limit_attention() -> None:
    random = torch.Generator().manual_seed(3)
    q, k, v = (torch.randn(1, 12, 2, 16, generator=random, dtype=torch.float64) for _ in range(3))
    narrow = flash_attn_func(q, k, v, causal=True, window_size=(3, 3))
    # The last query sees itself and three keys before.
    alone = flash_attn_func(q[:, -1:], k[:, -4:], v[:, -4:], causal=True)
    assert torch.allclose(narrow[:, -1:], alone)
    # A cap far above all scores changes nothing, a low one does.
    free = flash_attn_func(q, k, v, causal=True)
    assert torch.allclose(flash_attn_func(q, k, v, causal=True, softcap=1e4), free, atol=1e-5)
    assert not torch.allclose(flash_attn_func(q, k, v, causal=True, softcap=0.5), free, atol=1e-3)


def test_sequences_one_after_the_other_do_not_see_each_other() -> None:
    random = torch.Generator().manual_seed(4)
    q, k, v = (torch.randn(9, 2, 16, generator=random) for _ in range(3))
    ends = torch.tensor([0, 4, 9])
    together = flash_attn_varlen_func(q, k, v, ends, ends, 5, 5)
    assert torch.allclose(together[:4], flash_attn_func(q[None, :4], k[None, :4], v[None, :4])[0])
    assert torch.allclose(together[4:], flash_attn_func(q[None, 4:], k[None, 4:], v[None, 4:])[0])


async def test_the_checks_pass_where_everything_is_right(tiny_model: Path) -> None:
    logits = await checks.check_logits(STAND_IN, tiny_model)
    assert logits["values"] > 1000
    assert (await checks.check_cancel(STAND_IN, tiny_model))["taken"] > 0
    assert (await checks.check_schema(STAND_IN, tiny_model))["answers"] == 8
    company = await checks.check_invariance(STAND_IN, tiny_model)
    assert company["same in a batch"] == company["same after a warm prefix"] == company["answers"]


async def test_logits_of_another_model_are_noticed(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = write_checkpoint(tmp_path / "other", seed=6)
    reference = checks._reference
    monkeypatch.setattr(checks, "_reference", lambda place, _, texts, answers: reference(place, other, texts, answers))
    with pytest.raises(AssertionError, match="mean error"):
        await checks.check_logits(STAND_IN, tiny_model)


async def test_speed_is_measured_alone_and_through_the_mesh(tmp_path: Path) -> None:
    place = replace(STAND_IN, in_flight=(2,), tokens=8, speed=0.0)
    figures = await speed.compare(place, "tiny", STAND_IN.tiny, tmp_path)
    assert figures.keys() == {"at 2"}
    assert " %" in figures["at 2"]


def test_models_are_made_once_and_the_real_one_needs_all_its_pieces(tmp_path: Path) -> None:
    folder = models.endless_model(tmp_path, "tiny", STAND_IN.tiny)
    written = (folder / "model.safetensors").stat().st_mtime_ns
    assert models.endless_model(tmp_path, "tiny", STAND_IN.tiny) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == written
    assert read_model_directory(folder).eos_token_ids == (END, END_OF_TURN)
    (tmp_path / "pieces").write_text("5")
    (tmp_path / "smollm2.gguf.00").touch()
    with pytest.raises(NotRunError, match="1 of 5 pieces"):
        models.real_model(replace(STAND_IN, stand_in=False), tmp_path, tmp_path)
