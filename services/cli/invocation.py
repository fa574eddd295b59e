"""How the user can call this command again: printed advice must work when pasted."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

from services.cli.state import DEFAULT_STATE_DIRECTORY, STATE_DIRECTORY_VARIABLE, StateDirectory


def program() -> str:
    """Returns "tiermesh" where the shell finds it, else its path, as after `make run`, which activates nothing."""
    called = Path(sys.argv[0])
    found = shutil.which("tiermesh")
    if called.name != "tiermesh" or (found and Path(found).resolve() == called.resolve()):
        return "tiermesh"
    return _shell_path(called.absolute())


def state_option(state: StateDirectory) -> str:
    """Returns " --state-dir X" where a command would look elsewhere without it, else nothing."""
    default = os.environ.get(STATE_DIRECTORY_VARIABLE, DEFAULT_STATE_DIRECTORY)
    if state.path == Path(default).absolute():
        return ""
    return f" --state-dir {_shell_path(state.path)}"


def _shell_path(path: Path) -> str:
    """Returns the path as one word for the shell, short where it lies below the current directory."""
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))
