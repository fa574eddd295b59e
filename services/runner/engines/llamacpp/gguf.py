"""Reads what xllamacpp does not expose of a GGUF model file: its metadata, and where its tensors are.

The format is documented at https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3, little-endian).
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

_MAGIC = b"GGUF"
# GGUF's value types → struct formats; 8 is a string and 9 an array.
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_ALIGNMENT_KEY, _ALIGNMENT = "general.alignment", 32
# What a damaged file makes of reading it.
_DAMAGE = (struct.error, KeyError, UnicodeDecodeError, RecursionError, OverflowError)


class TensorPlace(NamedTuple):
    """Where one tensor is in a file, and what it is."""

    # The contiguous dimension first.
    shape: tuple[int, ...]
    # By GGUF's own codes.
    type: int
    # Bytes from the beginning of the file.
    offset: int


class Header(NamedTuple):
    """What a file says of itself before its tensors."""

    # Texts as bytes.
    metadata: dict[str, Any]
    tensors: dict[str, TensorPlace]


def read_header(path: Path) -> Header:
    """Returns all metadata and the places of all tensors; raises ValueError if the file is damaged or no GGUF file."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            return _Reader(data).header()
        except _DAMAGE as error:
            raise ValueError(f"{path} is not a readable GGUF file") from error


def read_metadata(path: Path, keys: Collection[str], endings: tuple[str, ...] = ()) -> dict[str, Any]:
    """Returns those of `keys` that the file has, and all keys with one of `endings`, strings as bytes.

    Raises ValueError if it is not a GGUF file.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        reader = _Reader(data)
        try:
            return reader.metadata(keys, endings)
        except _DAMAGE as error:
            raise ValueError(f"{path} is not a readable GGUF file") from error


def find_tensor(path: Path, name: str) -> TensorPlace:
    """Returns where a tensor is; raises ValueError if the file has none of that name or is not a GGUF file."""
    found = read_header(path).tensors.get(name)
    if found is None:
        raise ValueError(f"{path} has no readable tensor {name}")
    return found


class _Reader:
    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = 0

    def metadata(self, keys: Collection[str], endings: tuple[str, ...] = ()) -> dict[str, Any]:
        magic = self._data[:4]
        self._at = 4
        version, _tensors, count = self._numbers("IQQ")
        if magic != _MAGIC or version not in {2, 3}:
            raise KeyError("magic")
        found = {}
        for _ in range(count):
            key = self._string().decode()
            value = self._value(*self._numbers("I"))
            if key in keys or key.endswith(endings):
                found[key] = value
        return found

    def header(self) -> Header:
        # Every key ends in nothing.
        metadata = self.metadata((), ("",))
        (count,) = struct.unpack_from("<Q", self._data, 8)
        found: dict[str, tuple[tuple[int, ...], int, int]] = {}
        for _ in range(count):
            name = self._string().decode()
            shape = self._numbers(f"{self._numbers('I')[0]}Q")
            found[name] = (shape, *self._numbers("IQ"))
        # The data begins at the next multiple of the alignment.
        alignment = metadata.get(_ALIGNMENT_KEY)
        alignment = alignment if isinstance(alignment, int) and alignment > 0 else _ALIGNMENT
        begin = -(-self._at // alignment) * alignment
        tensors = {name: TensorPlace(shape, kind, begin + offset) for name, (shape, kind, offset) in found.items()}
        return Header(metadata, tensors)

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
        if self._at > len(self._data):
            raise struct.error("the text ends behind the file")
        return self._data[start : self._at]

    def _numbers(self, form: str) -> tuple[Any, ...]:
        form = "<" + form
        numbers = struct.unpack_from(form, self._data, self._at)
        self._at += struct.calcsize(form)
        return numbers
