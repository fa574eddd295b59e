"""The environments that the clients are installed in, and how their programs run: alone, with folders of their own.

A program finds no key, no setting and no proxy of the person who runs the tests, and reaches loopback addresses only.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.deadlines import stretched
from tests.support.programs import ROOT

_KEPT = ("LANG", "LC_ALL", "PATH", "TERM", "TZ")
# Nothing listens there, as the hook knows: what a program wants from elsewhere is refused at once.
_PROXY = "http://127.0.0.1:9"
# What keeps a Python program from the network, if its PYTHONPATH has it.
HOOK = Path(__file__).parent / "loopback"
# Where it writes down what the program wanted from elsewhere.
_ATTEMPTS_VARIABLE = "TIERMESH_TEST_ATTEMPTS"
_SECONDS = 60.0


class Home:
    """An empty home directory for one program, which tells afterwards what it wanted from elsewhere."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._attempts = directory / "attempts"

    def environ(self, **settings: str) -> dict[str, str]:
        """Returns the whole environment of a program: what every program needs, and these settings."""
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), _PROXY)
        exempt = dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost")
        own = {
            "HOME": str(self.directory),
            "TMPDIR": str(self.directory),
            "PYTHONPATH": str(HOOK),
            "PYTHONUNBUFFERED": "1",
            _ATTEMPTS_VARIABLE: str(self._attempts),
        }
        return {**kept, **proxies, **exempt, **own, **settings}

    @property
    def attempts(self) -> list[str]:
        """The hosts that are not this machine and that the program wanted to reach."""
        return self._attempts.read_text().splitlines() if self._attempts.exists() else []


def program(environment: str, name: str = "python") -> Path:
    """Returns a program of an environment: of `.venv-aider` for `aider`, and of the tests' own for ""."""
    path = ROOT / (f".venv-{environment}" if environment else ".venv") / "bin" / name
    assert os.access(path, os.X_OK), (
        f"there is no program {path}: `make test` installs it, and so does `make agents-python`"
    )
    return path


def run(
    command: Sequence[str | Path],
    environ: Mapping[str, str],
    *,
    directory: Path,
    text: str = "",
    seconds: float = _SECONDS,
) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end with `text` as its input, whatever comes of it."""
    return subprocess.run(
        command,
        input=text,
        capture_output=True,
        text=True,
        timeout=stretched(seconds),
        env=dict(environ),
        cwd=directory,
        check=False,
    )
