"""Reads what a GGUF model file says about itself: chat template and vocabulary, which xllamacpp does not expose.

The format is documented at https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3, little-endian).
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Collection
from pathlib import Path
from typing import Any

_MAGIC = b"GGUF"
# GGUF's value types → struct formats; 8 is a string and 9 an array.
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9


def read_metadata(path: Path, keys: Collection[str]) -> dict[str, Any]:
    """Returns those of `keys` that the file has, strings as bytes; raises ValueError if it is not a GGUF file."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        reader = _Reader(data)
        try:
            return reader.metadata(keys)
        except (struct.error, KeyError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is not a readable GGUF file") from error


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
