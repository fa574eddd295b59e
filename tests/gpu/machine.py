"""What a machine must have: a GPU, torch that can use it, and, to build with, a CUDA compiler.

Imports the standard library alone.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import asdict, dataclass
from pathlib import Path

# Below this, flash-attn and ExLlamaV2's paged cache do not work.
_OLDEST_CAPABILITY = (8, 0)
_USUAL_HOME = "/usr/local/cuda"
_ASK_TORCH = """
import json, torch
gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
print(json.dumps({
    "torch": torch.__version__, "cuda": torch.version.cuda or "", "folder": torch.__path__[0],
    "gpus": [[gpu.name, gpu.major, gpu.minor, gpu.total_memory] for gpu in gpus],
}))
"""


class UnfitError(Exception):
    """The machine lacks something; the message says what to do."""


@dataclass(frozen=True)
class Machine:
    """What was found."""

    # The Python that has torch.
    python: str
    version: str
    torch: str
    # The CUDA version that torch was built for.
    cuda: str
    gpus: tuple[str, ...]
    # Of the first GPU, such as (9, 0).
    capability: tuple[int, int]
    # Bytes of the first GPU.
    memory: int
    driver: str
    # The folder with torch and the packages of CUDA that it brings.
    packages: Path

    def describe(self) -> dict[str, object]:
        """Returns everything, for the report."""
        return {**asdict(self), "packages": str(self.packages), "cores": os.cpu_count()}


def inspect_machine() -> Machine:
    """Returns what the machine has; raises UnfitError for the first thing that is missing."""
    asked = subprocess.run([sys.executable, "-c", _ASK_TORCH], capture_output=True, text=True, check=False)
    if asked.returncode:
        last = asked.stderr.strip().splitlines()[-1:]
        raise UnfitError(f"{sys.executable} has no working torch ({last}): choose one with make PYTHON=…")
    found = json.loads(asked.stdout.splitlines()[-1])
    if not found["gpus"]:
        raise UnfitError(
            f"torch {found['torch']} sees no CUDA GPU: check `nvidia-smi`, and that it is a build with CUDA"
        )
    name, major, minor, memory = found["gpus"][0]
    if (major, minor) < _OLDEST_CAPABILITY:
        raise UnfitError(f"{name} has compute capability {major}.{minor}; 8.0 or newer is needed")
    return Machine(
        python=sys.executable,
        version=sys.version.split()[0],
        torch=found["torch"],
        cuda=found["cuda"],
        gpus=tuple(gpu[0] for gpu in found["gpus"]),
        capability=(major, minor),
        memory=memory,
        driver=_driver(),
        packages=Path(found["folder"]).parent,
    )


def build_environment(machine: Machine, folder: Path) -> dict[str, str]:
    """Returns the environment in which torch builds an extension, for the first GPU, below `folder`.

    Raises UnfitError for the first thing that is missing.
    """
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    if not header.is_file():
        raise UnfitError(f"{header} is missing: install Python's headers (python3-dev), the extension includes them")
    for program in ("g++", "ninja"):
        if shutil.which(program, path=_search_path()) is None:
            raise UnfitError(f"{program} is missing, and torch needs it to build extensions: install it")
    headers = [str(path) for path in sorted(machine.packages.glob("nvidia/*/include"))]
    return {
        **os.environ,
        "PATH": _search_path(),
        "CUDA_HOME": str(_cuda_home()),
        "TORCH_CUDA_ARCH_LIST": ".".join(map(str, machine.capability)),
        "TORCH_EXTENSIONS_DIR": str(folder),
        "MAX_JOBS": str(os.cpu_count() or 1),
        "CPATH": ":".join([*headers, *filter(None, [os.environ.get("CPATH")])]),
    }


def _search_path() -> str:
    # ninja may be installed beside Python alone.
    return f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"


def _cuda_home() -> Path:
    """Returns the folder with bin/nvcc and include/."""
    candidates = [os.environ.get("CUDA_HOME"), _USUAL_HOME]
    nvcc = shutil.which("nvcc")
    if nvcc:
        candidates.insert(0, str(_real_compiler(Path(nvcc)).parent.parent))
    for candidate in filter(None, candidates):
        home = Path(candidate)
        if (home / "bin" / "nvcc").exists() and (home / "include" / "cuda_runtime.h").exists():
            return home
    raise UnfitError("there is no CUDA compiler with its headers: install the CUDA toolkit, or set CUDA_HOME to it")


def _real_compiler(path: Path) -> Path:
    """Follows links, and a script that only calls the compiler elsewhere."""
    path = path.resolve()
    if path.stat().st_size < 4096:
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            words = line.split()
            if words[:1] == ["exec"] and len(words) > 1 and words[1].strip('"').startswith("/"):
                return Path(words[1].strip('"')).resolve()
    return path


def _driver() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.SubprocessError) as error:
        return f"unknown: {error}"
    return asked.stdout.strip().splitlines()[0] if asked.returncode == 0 and asked.stdout.strip() else "unknown"
