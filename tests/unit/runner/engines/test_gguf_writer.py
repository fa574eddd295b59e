"""What is written is what the format's description says."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest

from services.runner.engines.llamacpp.gguf import read_metadata
from services.runner.engines.llamacpp.gguf_writer import Tensor, TensorType, Value, write_gguf

METADATA: dict[str, Value] = {
    "text": "a é",
    "whole": 7,
    "yes": True,
    "part": 0.5,
    "texts": ["x", "yz"],
    "numbers": [-1, 2],
    "halves": [0.5],
}


def written(*tensors: Tensor) -> bytes:
    file = io.BytesIO()
    write_gguf(file, METADATA, tensors)
    return file.getvalue()


def test_metadata_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(written())
    read = read_metadata(path, METADATA.keys())
    assert read.pop("text").decode() == "a é"
    assert read.pop("texts") == [b"x", b"yz"]
    assert read == {"whole": 7, "yes": True, "part": 0.5, "numbers": (-1, 2), "halves": (0.5,)}


def test_tensors_are_described_and_aligned() -> None:
    first = Tensor("first", (2, 3), TensorType.F32, [struct.pack("<6f", *range(6))])
    second = Tensor("second", (3,), TensorType.F16, [struct.pack("<2e", 1, 2), struct.pack("<e", 3)])
    content = written(first, second)
    # The contiguous dimension comes first; offsets count from where the data begins.
    assert struct.pack("<I2QIQ", 2, 3, 2, 0, 0) in content
    assert struct.pack("<IQIQ", 1, 3, 1, 32) in content
    data = content[-64:]
    assert struct.unpack("<6f", data[:24]) == (0, 1, 2, 3, 4, 5)
    assert struct.unpack("<3e", data[32:38]) == (1, 2, 3)
    assert len(content) % 32 == 0


def test_data_that_is_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="short has 4 bytes, but its shape needs 8"):
        written(Tensor("short", (2,), TensorType.F32, [bytes(4)]))


def test_an_empty_list_is_refused() -> None:
    with pytest.raises(ValueError, match="an empty list has no type"):
        write_gguf(io.BytesIO(), {"nothing": []}, [])
