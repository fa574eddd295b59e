"""What a GPU machine without a network needs, collected where there is one: `python -m tests.gpu.bundle`.

`build/gpu/bundle` has `wheels`, the packages that such a machine lacks, and `model-*`, the real model in pieces, so
that each folder stays below what can be carried at once. Carried folders are added to a store on the machine.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "gpu"
BUNDLE = BUILD / "bundle"
# The machine has these: torch and what comes with it, and the llama.cpp engine is not used there.
_THERE = {"numpy", "torch", "transformers", "tokenizers", "safetensors", "pillow", "regex", "xllamacpp", "ninja"}
# Of the environment for torch, these are needed besides what the services need.
_BESIDES = {
    *("anyio", "gguf", "h11", "httpcore2", "httpx2", "iniconfig", "pluggy", "psutil", "pytest", "pytest-asyncio"),
    *("packaging", "pytest-timeout", "truststore"),
}
# Bytes in one piece of the model, and in one folder of pieces.
_PIECE = 24 * 2**20
_PIECES_IN_FOLDER = 2
_PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>\S+)(?: ; (?P<marker>[^\\]*))? \\$")


def main() -> None:
    """Fills `build/gpu/bundle`; what was there is removed."""
    parser = argparse.ArgumentParser(prog="python -m tests.gpu.bundle", description=__doc__)
    parser.add_argument("--python-version", default="3.12", help="of the GPU machine (default: %(default)s)")
    options = parser.parse_args()
    shutil.rmtree(BUNDLE, ignore_errors=True)
    download(pins(options.python_version), options.python_version, BUNDLE / "wheels")
    split_model(BUNDLE)
    for folder in sorted(BUNDLE.iterdir()):
        size = sum(file.stat().st_size for file in folder.iterdir())
        print(f"{folder.relative_to(ROOT)}: {size / 2**20:.1f} MiB")


def pins(python_version: str) -> list[str]:
    """Returns `name==version` of every package to carry, from the lock files."""
    wanted: dict[str, str] = {}
    for lock in ("run.lock", "test-torch.lock", "exllamav2.lock"):
        for line in (ROOT / "requirements" / lock).read_text(encoding="utf-8").splitlines():
            pin = _PIN.match(line)
            if pin is None or not _applies(pin["marker"] or "", python_version):
                continue
            name = pin["name"].lower()
            if name not in _THERE and (lock != "test-torch.lock" or name in _BESIDES):
                wanted[name] = pin["version"]
    return [f"{name}=={version}" for name, version in sorted(wanted.items())]


def download(requirements: list[str], python_version: str, folder: Path) -> None:
    """Downloads wheels for Linux on x86-64; pip says which one there is not."""
    platforms = [f"manylinux_2_{minor}_x86_64" for minor in (35, 34, 31, 28, 27, 24, 17, 12, 5)]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--implementation", "cp", "--python-version", python_version]
    for platform in (*platforms, "manylinux2014_x86_64", "manylinux1_x86_64"):
        command += ["--platform", platform]
    folder.mkdir(parents=True)
    subprocess.run([*command, "--dest", str(folder), *requirements], check=True)


def split_model(bundle: Path) -> None:
    """Cuts the packaged GGUF file into pieces of at most 24 MiB, two in a folder."""
    from services.runner.demonstrations.packaged import find_smollm2

    with Path(find_smollm2()).open("rb") as file:
        at = 0
        while piece := file.read(_PIECE):
            folder = bundle / f"model-{at // _PIECES_IN_FOLDER + 1}"
            folder.mkdir(exist_ok=True)
            (folder / f"smollm2.gguf.{at:02}").write_bytes(piece)
            at += 1
    # How many there are, so that the machine can tell whether it has all.
    for folder in bundle.glob("model-*"):
        (folder / "pieces").write_text(str(at))


def _applies(marker: str, python_version: str) -> bool:
    """Whether a lock file's marker holds on Linux; only the forms that the lock files use are understood."""
    if not marker:
        return True
    from packaging.markers import Marker

    environment = {
        "sys_platform": "linux",
        "platform_machine": "x86_64",
        "platform_system": "Linux",
        "os_name": "posix",
        "python_version": python_version,
        "python_full_version": f"{python_version}.9",
    }
    return bool(Marker(marker).evaluate(environment))


if __name__ == "__main__":
    main()
