"""What the file of an embedding model says of it."""

from __future__ import annotations

from pathlib import Path

from services.runner.engines.llamacpp.gguf import read_metadata

_ARCHITECTURE = "general.architecture"
_TOKENS = "tokenizer.ggml.tokens"


def context_length(path: Path) -> int:
    """Returns how many tokens the model can take in at once.

    Raises FileNotFoundError, or ValueError for a file that does not state it.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no model file {path}")
    architecture = read_metadata(path, {_ARCHITECTURE}).get(_ARCHITECTURE, b"").decode(errors="replace")
    key = f"{architecture}.context_length"
    found: int = read_metadata(path, {key}).get(key, 0)
    if not found:
        raise ValueError(f"{path} does not state its {key}")
    return found


def vocabulary_size(path: Path) -> int:
    """Returns how many tokens the model in a GGUF file has."""
    return len(read_metadata(path, {_TOKENS}).get(_TOKENS, ()))
