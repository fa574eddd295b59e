from __future__ import annotations

import lzma
import sys
import sysconfig
from dataclasses import replace
from pathlib import Path

import pytest

from tests.gpu import machine as machines
from tests.gpu.extension import install_extension, pack_extension, tag
from tests.gpu.machine import Machine, UnfitError, build_environment, inspect_machine

FOUND = Machine(
    python="/usr/bin/python3",
    version="3.12.3",
    torch="2.11.0+cu130",
    cuda="13.0",
    gpus=("NVIDIA H100 80GB HBM3",),
    capability=(9, 0),
    memory=80 * 2**30,
    driver="580.159.04",
    packages=Path("/site"),
)


def test_a_machine_without_torch_or_gpu_is_told_what_to_do() -> None:
    with pytest.raises(UnfitError, match=r"no working torch|sees no CUDA GPU"):
        inspect_machine()


@pytest.fixture
def equipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine on which the extension can be built."""
    programs, toolkit = tmp_path / "programs", tmp_path / "cuda-13.0"
    (tmp_path / "site" / "nvidia" / "cu13" / "include").mkdir(parents=True)
    for file in (
        programs / "g++",
        programs / "ninja",
        toolkit / "bin" / "nvcc",
        toolkit / "include" / "cuda_runtime.h",
    ):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o755)
    (tmp_path / "Python.h").touch()
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("CUDA_HOME", str(toolkit))
    monkeypatch.setattr(machines, "_USUAL_HOME", str(tmp_path / "nowhere"))
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    return replace(FOUND, packages=tmp_path / "site")


def test_the_extension_is_built_for_the_gpu_that_is_there(
    equipped: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CPATH", "/mine")
    environ = build_environment(equipped, tmp_path)
    assert environ["TORCH_CUDA_ARCH_LIST"] == "9.0"
    assert environ["CPATH"] == f"{tmp_path / 'site/nvidia/cu13/include'}:/mine"
    assert environ["CUDA_HOME"] == str(tmp_path / "cuda-13.0")
    assert int(environ["MAX_JOBS"]) >= 1
    assert environ["PATH"].startswith(str(Path(sys.executable).parent))


@pytest.mark.parametrize("missing", ["Python.h", "programs/g++", "cuda-13.0/bin/nvcc"])
def test_a_build_without_its_tools_is_told_what_is_missing(equipped: Machine, tmp_path: Path, missing: str) -> None:
    (tmp_path / missing).unlink()
    with pytest.raises(UnfitError, match=r"Python\.h is missing|g\+\+ is missing|no CUDA compiler"):
        build_environment(equipped, tmp_path)


def test_a_compiler_behind_a_script_and_a_link_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "cuda-13.0"
    for folder in ("bin", "include"):
        (home / folder).mkdir(parents=True)
    (home / "include" / "cuda_runtime.h").touch()
    compiler = home / "bin" / "nvcc"
    compiler.write_bytes(b"\x7fELF" + bytes(5000))
    script = tmp_path / "wrapper"
    script.write_text(f'#!/bin/sh\nexec "{compiler}" "$@"\n')
    link = tmp_path / "nvcc"
    link.symlink_to(script)
    for path in (script, compiler):
        path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machines._cuda_home() == home


def test_a_machine_without_a_compiler_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    monkeypatch.setattr(machines, "_USUAL_HOME", str(tmp_path / "nowhere"))
    with pytest.raises(UnfitError, match="set CUDA_HOME"):
        machines._cuda_home()


def test_an_extension_is_packed_on_one_machine_and_taken_on_the_next(tmp_path: Path) -> None:
    first, second, site = (tmp_path / name for name in ("first", "second", "site"))
    for folder in (first / "extension", second / "extension", site):
        folder.mkdir(parents=True)
    (first / "extension" / f"{tag(FOUND)}.so").write_bytes(b"machine code" * 1000)
    packed = pack_extension(FOUND, first, second / "extension")
    assert "torch2.11.0-cu130-sm90" in packed.name
    assert lzma.decompress(packed.read_bytes()) == b"machine code" * 1000
    install_extension(FOUND, second, Path("python-is-not-run"), site)
    assert (site / "exllamav2_ext.so").read_bytes() == b"machine code" * 1000
