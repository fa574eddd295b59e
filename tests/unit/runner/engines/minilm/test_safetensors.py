"""Reading weights without a library."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from services.runner.engines.minilm.safetensors import SafetensorsFile


def file_with(path: Path, header: bytes, data: bytes) -> Path:
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)
    return path


def test_parts_of_tensors_are_read(tmp_path: Path) -> None:
    header = {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
        "b": {"dtype": "F32", "shape": [2, 1], "data_offsets": [4, 12]},
    }
    path = file_with(tmp_path / "model", json.dumps(header).encode(), struct.pack("<3f", 1, 2, 3))
    with SafetensorsFile(path) as file:
        assert file.tensors.keys() == {"a", "b"}
        assert file.tensors["b"].shape == (2, 1)
        assert struct.unpack("<f", file.read("a", 0, 4)) == (1,)
        assert struct.unpack("<f", file.read("b", 4, 8)) == (3,)


@pytest.mark.parametrize("header", [b"no JSON", b'{"a": 1}', b"[]"])
def test_another_file_is_refused(tmp_path: Path, header: bytes) -> None:
    with pytest.raises(ValueError, match="is not a readable safetensors file"):
        SafetensorsFile(file_with(tmp_path / "model", header, b""))
