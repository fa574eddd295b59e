"""A Python environment on the GPU machine: its own torch, the carried wheels, the extension. No network is used."""

from __future__ import annotations

import hashlib
import os
import shutil
import site
import subprocess
import sys
from pathlib import Path

from tests.gpu.bundle import BUNDLE, ROOT
from tests.gpu.extension import install_extension
from tests.gpu.machine import Machine, UnfitError

_FLASH_ATTENTION = '''"""Stands in for flash-attn on this test machine alone."""

from tests.gpu.flash_attention import VERSION as __version__
from tests.gpu.flash_attention import flash_attn_func, flash_attn_varlen_func, flash_attn_with_kvcache
'''


def store() -> Path:
    """Returns where everything is kept between runs on one machine; TIERMESH_GPU_STORE names another place."""
    return Path(os.environ.get("TIERMESH_GPU_STORE") or Path.home() / ".cache" / "tiermesh-gpu")


def collect(bundle: Path, kept: Path) -> None:
    """Adds what has been carried here to the store."""
    for folder in sorted(bundle.glob("*")):
        target = kept / ("model" if folder.name.startswith("model-") else folder.name)
        shutil.copytree(folder, target, dirs_exist_ok=True)


def prepare(machine: Machine, kept: Path) -> Path:
    """Returns the Python of an environment that can run everything; what is there already is not made again.

    Raises UnfitError if the wheels have not been carried, and CalledProcessError with the output of what failed.
    """
    wheels = sorted((kept / "wheels").glob("*.whl"))
    if not wheels:
        raise UnfitError(
            f"no wheels in {BUNDLE / 'wheels'}: `make gpu-bundle` where there is a network, and carry them"
        )
    python = _environment(machine, kept, wheels)
    if not _generated():
        subprocess.run([python, ROOT / "protos" / "generate.py"], check=True, cwd=ROOT)
    install_extension(machine, kept, python, site_packages(python))
    return python


def site_packages(python: Path) -> Path:
    """Returns where an environment's packages are."""
    return python.parent.parent / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"


def _generated() -> bool:
    """Whether the messages have been generated since the last change of the protos."""
    made = [path.stat().st_mtime for path in (ROOT / "tiermesh").rglob("*_pb2.py")]
    return bool(made) and min(made) >= max(path.stat().st_mtime for path in (ROOT / "protos").rglob("*.proto"))


def _environment(machine: Machine, kept: Path, wheels: list[Path]) -> Path:
    folder = kept / "environment"
    python = folder / "bin" / "python"
    ready = folder / "ready"
    names = "\n".join([machine.version, machine.torch, str(ROOT), *(wheel.name for wheel in wheels)])
    state = hashlib.sha256(names.encode()).hexdigest()
    if ready.is_file() and ready.read_text() == state:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    target = site_packages(python)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-cache-dir"]
    pip += ["--no-index", "--no-deps", "--no-compile", "--target", str(target)]
    subprocess.run([*pip, *map(str, wheels)], check=True)
    _add_paths(target)
    _add_flash_attention(target)
    command = folder / "bin" / "tiermesh"
    command.write_text(f"#!{python}\nfrom services.cli.__main__ import main\n\nmain()\n")
    command.chmod(0o755)
    ready.write_text(state)
    return python


def _add_paths(target: Path) -> None:
    """Makes this checkout and the packages of the machine's own Python visible, after the carried ones.

    The system packages that an environment can inherit are not those of another environment, in which torch may be.
    """
    parents = [path for path in (*site.getsitepackages(), site.getusersitepackages()) if Path(path).is_dir()]
    lines = [str(ROOT), *(f"import site; site.addsitedir({path!r})" for path in parents)]
    (target / "tiermesh-gpu.pth").write_text("\n".join(lines) + "\n")


def _add_flash_attention(target: Path) -> None:
    """Adds the stand-in for flash-attn, unless the machine has the real one."""
    if any((Path(path) / "flash_attn").is_dir() for path in site.getsitepackages()):
        return
    package = target / "flash_attn"
    package.mkdir()
    (package / "__init__.py").write_text(_FLASH_ATTENTION)
    (target / "flash_attn_2_cuda.py").write_text('"""The library asks only whether this exists."""\n')
