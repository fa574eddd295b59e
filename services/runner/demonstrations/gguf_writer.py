"""Writes small GGUF model files of 32-bit numbers.

The format is documented at https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (version 3, little-endian). The
package gguf writes such files too, but needs 58 MiB of numpy, which the installation of `make run` does not have.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, TypeAlias

_VERSION = 3
# The offset of every tensor is a multiple of this many bytes; it is what readers assume if the file does not say.
_ALIGNMENT = 32
_UINT32, _FLOAT32, _BOOL, _STRING, _ARRAY = 4, 6, 7, 8, 9
_TENSOR_F32 = 0

# Whole numbers are written as uint32, other numbers as float32.
Value: TypeAlias = str | bool | int | float | Sequence[float]


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a model. `shape` is row-major, as in Python: the last dimension is contiguous."""

    name: str
    shape: tuple[int, ...]
    # Its 32-bit numbers, little-endian.
    data: bytes


def write_gguf(file: BinaryIO, metadata: Mapping[str, Value], tensors: Sequence[Tensor]) -> None:
    """Writes a whole model; raises ValueError if a tensor's data is not as long as its shape says."""
    head = b"GGUF" + struct.pack("<IQQ", _VERSION, len(tensors), len(metadata))
    head += b"".join(_string(key) + _typed(value) for key, value in metadata.items())
    offset = 0
    for tensor in tensors:
        wanted = 4 * math.prod(tensor.shape)
        if len(tensor.data) != wanted:
            raise ValueError(f"the data of {tensor.name} has {len(tensor.data)} bytes, but its shape needs {wanted}")
        head += _tensor_info(tensor, offset)
        offset += _padded(wanted)
    file.writelines(part.ljust(_padded(len(part)), b"\0") for part in (head, *(tensor.data for tensor in tensors)))


def _padded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _tensor_info(tensor: Tensor, offset: int) -> bytes:
    # GGUF lists the contiguous dimension first.
    dimensions = struct.pack(f"<I{len(tensor.shape)}Q", len(tensor.shape), *reversed(tensor.shape))
    return _string(tensor.name) + dimensions + struct.pack("<IQ", _TENSOR_F32, offset)


def _typed(value: Value) -> bytes:
    """Returns the type and the bytes of a value."""
    if isinstance(value, str):
        return struct.pack("<I", _STRING) + _string(value)
    if isinstance(value, bool):
        return struct.pack("<I?", _BOOL, value)
    if isinstance(value, int):
        return struct.pack("<II", _UINT32, value)
    if isinstance(value, float):
        return struct.pack("<If", _FLOAT32, value)
    return struct.pack(f"<IIQ{len(value)}f", _ARRAY, _FLOAT32, len(value), *value)


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data
