"""How many bytes the tensors of a GGUF file take, by which a file that was cut off is known."""

from __future__ import annotations

import math
from collections.abc import Mapping

from services.runner.engines.llamacpp.gguf import TensorPlace

# GGUF's types of numbers → how many numbers share a block, and the bytes of a block
# (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).
BLOCKS: Mapping[int, tuple[int, int]] = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 40),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82),
    23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2),
    34: (256, 54), 35: (256, 66), 39: (32, 17), 40: (64, 36), 41: (128, 18),
}  # fmt: skip
# Types that llama.cpp has removed: arrangements of Q4_0 and IQ4_NL for some processors.
REMOVED = frozenset({4, 5, 31, 32, 33, 36, 37, 38})


def end_of_tensors(tensors: Mapping[str, TensorPlace]) -> int:
    """Returns how long the file must be, in bytes; raises KeyError with the code of a type that is not known."""
    return max((place.offset + _size(place) for place in tensors.values()), default=0)


def _size(place: TensorPlace) -> int:
    numbers, size = BLOCKS[place.type]
    return -(-math.prod(place.shape) // numbers) * size
