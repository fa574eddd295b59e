"""What a model has learnt of single tokens: rows of the first matrix in its GGUF file."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

from services.runner.engines.llamacpp.gguf import find_tensor

_TENSOR = "token_embd.weight"
# The tensor type Q8_0: blocks of 32 numbers, a 16-bit float that scales all of them and a signed byte for each.
_Q8_0 = 8
_BLOCK = struct.Struct("<e32b")
_BLOCK_NUMBERS = 32


def read_token_embeddings(path: Path, token_ids: Sequence[int]) -> list[list[float]]:
    """Returns the embedding of each token; raises ValueError if the file does not have them in the type Q8_0."""
    place = find_tensor(path, _TENSOR)
    if place.type != _Q8_0 or len(place.shape) != 2:
        raise ValueError(f"{path} has its token embeddings in another type than Q8_0")
    size = place.shape[0] // _BLOCK_NUMBERS * _BLOCK.size
    rows = []
    with path.open("rb") as file:
        for token_id in token_ids:
            file.seek(place.offset + token_id * size)
            rows.append(_numbers(file.read(size)))
    return rows


def _numbers(data: bytes) -> list[float]:
    return [scale * number for scale, *numbers in _BLOCK.iter_unpack(data) for number in numbers]
