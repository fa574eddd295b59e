"""Checks that the weights of a model directory are all there, before minutes are spent on loading them.

The format is documented at https://huggingface.co/docs/safetensors: eight bytes with the length of a JSON header, the
header with the place of each tensor, then the tensors.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from services.runner.engines.exllamav2.errors import ModelError

_INDEX = "model.safetensors.index.json"
_POINTER = b"version https://git-lfs"
_LARGEST_HEADER = 100 * 2**20


def check_weights(folder: Path) -> None:
    """Raises ModelError, which names the file, unless every safetensors file is there as a whole."""
    files = sorted(folder.glob("*.safetensors"))
    index = folder / _INDEX
    if index.is_file():
        weights: dict[str, Any] = json.loads(index.read_text(encoding="utf-8")).get("weight_map", {})
        missing = sorted(set(weights.values()) - {file.name for file in files})
        if missing:
            raise ModelError(f"{folder} lacks {', '.join(missing)}, named in {_INDEX}: copy the whole model")
    if not files:
        raise ModelError(f"{folder} has no *.safetensors files; GGUF and PyTorch weights must be converted first")
    for file in files:
        _check_file(file)


def _check_file(path: Path) -> None:
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(len(_POINTER))
        if start == _POINTER:
            raise ModelError(f"{path} is a Git LFS pointer, not the weights: fetch it with `git lfs pull`")
        length = struct.unpack("<Q", start[:8])[0] if len(start) >= 8 else 0
        if not 2 <= length <= min(size, _LARGEST_HEADER):
            raise ModelError(f"{path} is no safetensors file")
        file.seek(8)
        try:
            header: dict[str, Any] = json.loads(file.read(length))
        except ValueError as error:
            raise ModelError(f"{path} is no safetensors file") from error
    end = max((tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"), default=0)
    if size < 8 + length + end:
        raise ModelError(f"{path} is cut off: {size} of {8 + length + end} bytes; copy it again")
