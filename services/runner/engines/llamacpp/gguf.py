"""Reads what xllamacpp does not expose of a GGUF model file: chat template, vocabulary and embeddings of tokens.

The format is documented at https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3, little-endian).
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

_MAGIC = b"GGUF"
# GGUF's value types → struct formats; 8 is a string and 9 an array.
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_ALIGNMENT = 32
# The tensor type Q8_0: blocks of 32 numbers, a 16-bit float that scales all of them and a signed byte for each.
_Q8_0 = 8
_BLOCK = struct.Struct("<e32b")
_BLOCK_NUMBERS = 32


def read_metadata(path: Path, keys: Collection[str]) -> dict[str, Any]:
    """Returns those of `keys` that the file has, strings as bytes; raises ValueError if it is not a GGUF file."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        reader = _Reader(data)
        try:
            return reader.metadata(keys)
        except (struct.error, KeyError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is not a readable GGUF file") from error


def read_rows(path: Path, tensor: str, rows: Sequence[int]) -> list[list[float]]:
    """Returns rows of a two-dimensional tensor of type Q8_0; raises ValueError if the file has no such tensor."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        reader = _Reader(data)
        try:
            width, start = reader.tensor(tensor)
            blocks = width // _BLOCK_NUMBERS
            size = blocks * _BLOCK.size
            return [_dequantized(data[start + row * size : start + (row + 1) * size]) for row in rows]
        except (struct.error, KeyError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} has no readable tensor {tensor} of type Q8_0") from error


def _dequantized(data: bytes) -> list[float]:
    return [scale * number for scale, *numbers in _BLOCK.iter_unpack(data) for number in numbers]


class _Reader:
    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = 0

    def metadata(self, keys: Collection[str]) -> dict[str, Any]:
        magic = self._data[:4]
        self._at = 4
        version, _tensors, count = self._numbers("IQQ")
        if magic != _MAGIC or version not in {2, 3}:
            raise KeyError("magic")
        found = {}
        for _ in range(count):
            key = self._string().decode()
            value = self._value(*self._numbers("I"))
            if key in keys:
                found[key] = value
        return found

    def tensor(self, wanted: str) -> tuple[int, int]:
        """Returns the width of a Q8_0 matrix's rows and where its data begins; raises KeyError if there is none."""
        self._at = 8
        (tensors,) = self._numbers("Q")
        self.metadata(())
        found: tuple[int, int] | None = None
        for _ in range(tensors):
            name = self._string().decode()
            shape = self._numbers(f"{self._numbers('I')[0]}Q")
            kind, offset = self._numbers("IQ")
            if name == wanted and len(shape) == 2 and kind == _Q8_0:
                found = shape[0], offset
        if found is None:
            raise KeyError(wanted)
        # The data begins at the next multiple of the alignment, which no file at hand changes.
        return found[0], -(-self._at // _ALIGNMENT) * _ALIGNMENT + found[1]

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string()
        if kind != _ARRAY:
            return self._numbers(_NUMBERS[kind])[0]
        element, count = self._numbers("IQ")
        if element in _NUMBERS:
            return self._numbers(f"{count}{_NUMBERS[element]}")
        return [self._value(element) for _ in range(count)]

    def _string(self) -> bytes:
        (length,) = self._numbers("Q")
        start = self._at
        self._at += length
        return self._data[start : self._at]

    def _numbers(self, form: str) -> tuple[Any, ...]:
        form = "<" + form
        numbers = struct.unpack_from(form, self._data, self._at)
        self._at += struct.calcsize(form)
        return numbers
