"""Writes GGUF model files, for models that come in another format.

The format is documented at https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (version 3, little-endian).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import BinaryIO, TypeAlias

_VERSION = 3
# The offset of every tensor is a multiple of this many bytes; it is what readers assume if the file does not say.
_ALIGNMENT = 32
_UINT32, _INT32, _FLOAT32, _BOOL, _STRING, _ARRAY = 4, 5, 6, 7, 8, 9

# Whole numbers are written as uint32, and as int32 within lists; other numbers as float32.
Scalar: TypeAlias = str | bool | int | float
Value: TypeAlias = Scalar | Sequence[str] | Sequence[int] | Sequence[float]


class TensorType(IntEnum):
    """How numbers are stored, by GGUF's own codes."""

    F32 = 0
    F16 = 1

    @property
    def width(self) -> int:
        """Bytes of one number."""
        return 4 if self is TensorType.F32 else 2


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a model. `shape` is row-major, as in Python: the last dimension is contiguous."""

    name: str
    shape: tuple[int, ...]
    type: TensorType
    # Its little-endian bytes, in as many pieces as suits the caller; read once, when the file is written.
    data: Iterable[bytes]

    @property
    def size(self) -> int:
        """Bytes of its data."""
        return math.prod(self.shape) * self.type.width


def write_gguf(file: BinaryIO, metadata: Mapping[str, Value], tensors: Sequence[Tensor]) -> None:
    """Writes a whole model; raises ValueError if a tensor's data is not as long as its shape says."""
    head = b"GGUF" + struct.pack("<IQQ", _VERSION, len(tensors), len(metadata))
    head += b"".join(_string(key) + _typed(value) for key, value in metadata.items())
    offset = 0
    for tensor in tensors:
        head += _tensor_info(tensor, offset)
        offset += _padded(tensor.size)
    file.write(head.ljust(_padded(len(head)), b"\0"))
    for tensor in tensors:
        written = sum(file.write(piece) for piece in tensor.data)
        if written != tensor.size:
            raise ValueError(f"the data of {tensor.name} has {written} bytes, but its shape needs {tensor.size}")
        file.write(bytes(_padded(written) - written))


def _padded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _tensor_info(tensor: Tensor, offset: int) -> bytes:
    # GGUF lists the contiguous dimension first.
    dimensions = struct.pack(f"<I{len(tensor.shape)}Q", len(tensor.shape), *reversed(tensor.shape))
    return _string(tensor.name) + dimensions + struct.pack("<IQ", tensor.type, offset)


def _typed(value: Value) -> bytes:
    if isinstance(value, (str, bool, int, float)):
        kind, data = _scalar(value, _UINT32)
        return struct.pack("<I", kind) + data
    if not value:
        raise ValueError("an empty list has no type")
    items = [_scalar(item, _INT32) for item in value]
    return struct.pack("<IIQ", _ARRAY, items[0][0], len(items)) + b"".join(data for _, data in items)


def _scalar(value: Scalar, whole: int) -> tuple[int, bytes]:
    """Returns the type and the bytes of one value; `whole` is the type of whole numbers."""
    if isinstance(value, str):
        return _STRING, _string(value)
    if isinstance(value, bool):
        return _BOOL, struct.pack("<?", value)
    if isinstance(value, int):
        return whole, struct.pack("<I" if whole == _UINT32 else "<i", value)
    return _FLOAT32, struct.pack("<f", value)


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data
