"""Reads tensors from a safetensors file.

The format is documented at https://huggingface.co/docs/safetensors: the length of a JSON header, the header, the data.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec


class TensorInfo(msgspec.Struct, frozen=True):
    """Where one tensor is, in bytes from the end of the header, and what it is."""

    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


class SafetensorsFile:
    """An open file; use as `with`. Opening raises OSError, or ValueError if it is no safetensors file."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        try:
            (length,) = struct.unpack_from("<Q", self._data)
            header = msgspec.json.decode(self._data[8 : 8 + length], type=dict[str, msgspec.Raw])
            header.pop("__metadata__", None)
            self.tensors = {name: msgspec.json.decode(raw, type=TensorInfo) for name, raw in header.items()}
        except (struct.error, msgspec.MsgspecError) as error:
            self._data.close()
            raise ValueError(f"{path} is not a readable safetensors file") from error
        self._start = 8 + length

    def read(self, name: str, start: int, end: int) -> bytes:
        """Returns the bytes `start` to `end` of a tensor's data."""
        offset = self._start + self.tensors[name].data_offsets[0]
        return self._data[offset + start : offset + end]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._data.close()
