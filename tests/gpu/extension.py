"""ExLlamaV2's compiled extension: built once for a machine, or taken from an earlier build for the same kind."""

from __future__ import annotations

import lzma
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.gpu.machine import Machine, UnfitError, build_environment

_NAME = "exllamav2_ext.so"
# The sources take about 21 minutes of one core.
_BUILD_SECONDS = 540


def tag(machine: Machine) -> str:
    """Returns what a build depends on, as part of a file name."""
    torch = machine.torch.replace("+", "-")
    python = "".join(map(str, sys.version_info[:2]))
    return f"cp{python}-torch{torch}-sm{''.join(map(str, machine.capability))}"


def install_extension(machine: Machine, kept: Path, python: Path, target: Path) -> None:
    """Puts the extension into an environment's packages, where the library looks before it compiles.

    A build for the same kind of machine may have been carried as `build/gpu/bundle/extension/<tag>.so.xz`.
    """
    built = kept / "extension" / f"{tag(machine)}.so"
    packed = built.with_suffix(".so.xz")
    if not built.is_file() and packed.is_file():
        built.write_bytes(lzma.decompress(packed.read_bytes()))
    if not built.is_file():
        shutil.copyfile(_build(machine, kept / "build", python), _made(built))
    shutil.copyfile(built, target / _NAME)


def pack_extension(machine: Machine, kept: Path, folder: Path) -> Path:
    """Writes the extension to `folder`, compressed to about a quarter, and returns the file."""
    built = kept / "extension" / f"{tag(machine)}.so"
    packed = built.with_suffix(".so.xz")
    if not packed.is_file():
        packed.write_bytes(lzma.compress(built.read_bytes(), preset=3))
    return Path(shutil.copy(packed, folder))


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _build(machine: Machine, folder: Path, python: Path) -> Path:
    """Lets the library compile its extension and returns the file; objects of a build that was cut off are reused."""
    folder.mkdir(parents=True, exist_ok=True)
    # A build that was killed leaves its lock, for which the next one would wait for ever.
    for lock in folder.rglob("lock"):
        lock.unlink()
    began = time.monotonic()
    print("building ExLlamaV2's extension …", flush=True)
    try:
        done = subprocess.run(
            [python, "-c", "import exllamav2.ext"],
            env=build_environment(machine, folder),
            capture_output=True,
            text=True,
            timeout=_BUILD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UnfitError(f"the build took longer than {_BUILD_SECONDS} s; run again, it goes on from there") from None
    found = sorted(folder.rglob(_NAME))
    if done.returncode or not found:
        log, output = folder / "build.log", done.stdout + done.stderr
        log.write_text(output)
        # Among the commands of the other jobs, the end alone may not show what went wrong.
        errors = [line[:300] for line in output.splitlines() if "error" in line.lower()]
        raise UnfitError("\n".join([f"the extension could not be built; {log} says:", *errors[:20], output[-3000:]]))
    print(f"built in {time.monotonic() - began:.0f} s", flush=True)
    return found[0]
