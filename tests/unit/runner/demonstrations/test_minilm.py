"""The packaged model for embeddings is converted once, whoever starts at the same time."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFReader
from safetensors.numpy import load_file, save_file

from services.runner.demonstrations.bert_conversion import convert
from services.runner.demonstrations.minilm import minilm
from services.runner.demonstrations.packaged import find_minilm
from services.runner.engines.llamacpp.gguf import read_metadata
from services.runner.engines.minilm.model_file import context_length, vocabulary_size

WORDS = "embeddings.word_embeddings.weight"


def test_runners_that_start_together_share_one_conversion(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    # What a runner that was killed has left.
    (cache / "all-MiniLM-L6-v2-f16-1.gguf.unfinished").write_bytes(b"half of a model")
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(minilm, [cache, cache])
    assert first == second
    assert [path.name for path in cache.iterdir()] == [first.name]
    made = first.stat()
    assert 44 << 20 < made.st_size < 45 << 20
    assert minilm(cache).stat().st_mtime_ns == made.st_mtime_ns
    assert read_metadata(first, {"general.architecture"}) == {"general.architecture": b"bert"}
    assert vocabulary_size(first) == 30522
    assert context_length(first) == 512


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """The folder of a model with the packaged one's vocabulary and configuration, but of one layer."""
    source, folder = find_minilm(), tmp_path / "model"
    folder.mkdir()
    shutil.copy(source / "tokenizer.json", folder)
    config = json.loads((source / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 1}))
    weights = load_file(source / "model.safetensors")
    save_file(
        {name: tensor for name, tensor in weights.items() if not name.startswith("encoder.layer.") or ".0." in name},
        folder / "model.safetensors",
    )
    return folder


def test_matrices_are_halved_and_the_rest_is_as_it_was(small: Path, tmp_path: Path) -> None:
    convert(small, "small", tmp_path / "small.gguf")
    weights = load_file(small / "model.safetensors")
    written = {tensor.name: tensor.data for tensor in GGUFReader(tmp_path / "small.gguf").tensors}
    assert len(written) == 5 + 16
    assert np.array_equal(written["token_embd.weight"], weights[WORDS].astype(np.float16))
    positions = weights["embeddings.position_embeddings.weight"]
    assert written["position_embd.weight"].dtype == np.float32
    assert np.array_equal(written["position_embd.weight"], positions)


def without_words(weights: dict[str, np.ndarray]) -> None:
    del weights[WORDS]


def in_16_bits(weights: dict[str, np.ndarray]) -> None:
    weights[WORDS] = weights[WORDS].astype(np.float16)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [(without_words, f"lacks the tensors {WORDS}"), (in_16_bits, "stored as float16; only float32 can be converted")],
)
def test_weights_that_cannot_be_converted_are_named(
    small: Path, tmp_path: Path, spoil: Callable[[dict[str, np.ndarray]], None], reason: str
) -> None:
    weights = load_file(small / "model.safetensors")
    spoil(weights)
    save_file(weights, small / "model.safetensors")
    with pytest.raises(ValueError, match=reason):
        convert(small, "small", tmp_path / "small.gguf")


@pytest.mark.parametrize("content", [b"", b"no safetensors", (4).to_bytes(8, "little") + b"[[]]"])
def test_another_file_is_refused(small: Path, tmp_path: Path, content: bytes) -> None:
    (small / "model.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match="is not a readable safetensors file"):
        convert(small, "small", tmp_path / "small.gguf")
