"""What `make run` installs stays small, models included, whatever else the environment of the tests holds.

Counted is what a fresh environment takes on disk: the files of the distributions that are pinned, by their own lists,
without what the Makefile removes; pip; and the bytecode that the Makefile makes. A fresh one, measured by `du`, was
1.5 MiB larger than this sum: the environment's own files and folders.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, PackagePath, distribution
from importlib.util import cache_from_source
from pathlib import Path

from tests.support.locks import ROOT, pins

MOST_BYTES = 400_000_000
# File systems give space in blocks.
BLOCK = 4096


def test_the_base_install_stays_under_400_mb() -> None:
    removed = {Path(word).name for line in recipe() if line.startswith("rm -f ") for word in line.split()[2:]}
    files = [file for pinned in distributions() for file in written(pinned) if file.name not in removed]
    assert "etcdctl" in removed
    assert sum(file.name == "etcd" for file in files) == 2
    folders = {file.parent for file in files}
    pip = [on_disk(file) for file in distribution("pip").files or ()]
    total = sum(blocks(file.size or 0) for file in files) + len(folders) * BLOCK + sum(pip) + bytecode(files)
    # Less than this, and something was left out.
    assert 300_000_000 < total < MOST_BYTES


def test_what_is_imported_is_compiled_and_nothing_else() -> None:
    installations = [line for line in recipe() if "requirements/" in line]
    assert [line for line in installations if "--no-compile" in line] == installations != []


def test_the_command_starts_without_what_only_extras_need() -> None:
    """Python takes a module that is None for one that is missing."""
    extras = [
        "PIL",
        "av",
        "bip32",
        "coincurve",
        "cryptography",
        "eth_hash",
        "faster_whisper",
        "huggingface_hub",
        "httpx2",
        "numpy",
        "opentelemetry",
        "py_nanotts",
        "torch",
    ]
    code = f"import sys; sys.modules.update(dict.fromkeys({extras})); import services.cli.__main__"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def recipe() -> list[str]:
    """Returns the commands that make the base environment, as make would run them."""
    return make("--dry-run", "--always-make", ".venv/.base-installed").splitlines()


def make(*arguments: str) -> str:
    """Returns what make prints; the tests may themselves run under one, whose options are not for this one."""
    environ = {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL"}}
    command = ["make", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=True).stdout


def distributions() -> Iterator[Distribution]:
    """Yields what the base installation pins for this Python, and fails if anything else is installed in its place."""
    for name in ("run.lock", "models.lock"):
        for pin in pins(name):
            if pin.marker is None or pin.marker.evaluate():
                installed = distribution(pin.name)
                assert pin.specifier.contains(installed.version), f"{pin} is pinned, not {installed.version}"
                yield installed


def written(installed: Distribution) -> list[PackagePath]:
    """Returns the files of a distribution; those without a size, such as bytecode, its wheel did not bring."""
    files = [file for file in installed.files or () if file.size is not None]
    assert files, installed.name
    return files


def bytecode(files: list[PackagePath]) -> int:
    """Returns what the bytecode of those files takes that the Makefile makes, by importing what the mesh imports."""
    names = make("--eval", "show: ; @echo $(COMPILED)", "show").split()
    script = (
        "import sys\nfor name in sys.argv[1:]: __import__(name)\n"
        "print(*(getattr(module, '__file__', None) or '' for module in sys.modules.values()), sep='\\n')"
    )
    command = [sys.executable, "-c", script, *names]
    imported = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    sources = {str(file.locate()) for file in files if file.suffix == ".py"} & set(imported)
    assert len(sources) > 300
    # Where it is not there, it is about as large as its source.
    compiled = [Path(cache_from_source(source)) for source in sources]
    return sum(
        blocks((cache if cache.exists() else Path(source)).stat().st_size)
        for cache, source in zip(compiled, sources, strict=True)
    )


def on_disk(file: PackagePath) -> int:
    path = Path(str(file.locate()))
    return blocks(path.stat().st_size) if path.exists() else 0


def blocks(size: int) -> int:
    return -(-size // BLOCK) * BLOCK
