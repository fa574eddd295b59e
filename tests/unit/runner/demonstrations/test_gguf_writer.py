"""What is written is what the format's description says."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
from gguf import GGUFReader

from services.runner.demonstrations.gguf_writer import Tensor, Value, write_gguf
from services.runner.engines.llamacpp.gguf import find_tensor, read_metadata

METADATA: dict[str, Value] = {
    "text": "a é",
    "whole": 7,
    "yes": True,
    "part": 0.5,
    "halves": [0.5, -1.5],
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
    assert read == {"whole": 7, "yes": True, "part": 0.5, "halves": (0.5, -1.5)}


def test_tensors_are_described_and_aligned(tmp_path: Path) -> None:
    first = Tensor("first", (2, 3), struct.pack("<6f", *range(6)))
    second = Tensor("second", (3,), struct.pack("<3f", 1, 2, 3))
    content = written(first, second)
    # The contiguous dimension comes first; offsets count from where the data begins.
    assert struct.pack("<I2QIQ", 2, 3, 2, 0, 0) in content
    assert struct.pack("<IQIQ", 1, 3, 0, 32) in content
    data = content[-64:]
    assert struct.unpack("<6f", data[:24]) == (0, 1, 2, 3, 4, 5)
    assert struct.unpack("<3f", data[32:44]) == (1, 2, 3)
    assert len(content) % 32 == 0
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    assert find_tensor(path, "second") == ((3,), 0, len(content) - 32)
    with pytest.raises(ValueError, match="no readable tensor third"):
        find_tensor(path, "third")


def test_the_package_gguf_reads_the_same(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(written(Tensor("only", (2, 3), struct.pack("<6f", *range(6)))))
    reader = GGUFReader(path)
    assert {name: reader.fields[name].contents() for name in METADATA} == METADATA
    (tensor,) = reader.tensors
    assert (tensor.name, tensor.data.tolist()) == ("only", [[0, 1, 2], [3, 4, 5]])


@pytest.mark.parametrize("size", [4, 12])
def test_data_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"tensor has {size} bytes, but its shape needs 8"):
        written(Tensor("tensor", (2,), bytes(size)))
