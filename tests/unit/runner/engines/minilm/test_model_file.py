"""The model is converted once, whoever starts at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from services.runner.engines.llamacpp import find_smollm2
from services.runner.engines.llamacpp.gguf import read_metadata
from services.runner.engines.minilm.model_file import GgufModel, PackagedMiniLm, default_cache, vocabulary_size


def test_runners_that_start_together_share_one_conversion(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    # What a runner that was killed has left.
    (cache / "all-MiniLM-L6-v2-f16-1.part").write_bytes(b"half of a model")
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(lambda model: model.path(), [PackagedMiniLm(cache), PackagedMiniLm(cache)])
    assert first == second
    assert [path.name for path in cache.iterdir()] == [first.name]
    made = first.stat()
    assert 44 << 20 < made.st_size < 45 << 20
    assert PackagedMiniLm(cache).path().stat().st_mtime_ns == made.st_mtime_ns
    assert read_metadata(first, {"general.architecture"}) == {"general.architecture": b"bert"}
    assert vocabulary_size(first) == 30522
    assert PackagedMiniLm(cache).context() == GgufModel(first).context() == 512


def test_a_cache_that_cannot_be_written_names_the_setting(tmp_path: Path) -> None:
    occupied = tmp_path / "file"
    occupied.touch()
    with pytest.raises(OSError, match="TIERMESH_RUNNER_CACHE_DIR"):
        PackagedMiniLm(occupied / "cache").path()


def test_the_default_cache_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "tiermesh"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache() == tmp_path / ".cache" / "tiermesh"


def test_a_model_of_the_operators(tmp_path: Path) -> None:
    assert GgufModel(find_smollm2()).context() > 512
    with pytest.raises(FileNotFoundError, match="no model file"):
        GgufModel(tmp_path / "nowhere.gguf").context()
