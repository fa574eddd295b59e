"""Starts tests or measurements in an environment made for them, by the Python that has torch.

Imports nothing but the standard library.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.gpu.bundle import BUILD, BUNDLE, ROOT
from tests.gpu.environment import collect, prepare, store
from tests.gpu.extension import pack_extension
from tests.gpu.machine import UnfitError, inspect_machine

_STAND_IN_PYTHON = ROOT / ".venv-torch" / "bin" / "python"


def options_parser(program: str, description: str | None) -> argparse.ArgumentParser:
    """Returns a parser of the options that tests and measurements share."""
    parser = argparse.ArgumentParser(prog=program, description=description)
    parser.add_argument("--stand-in", action="store_true", help="run the same on the CPU, over the stand-in of tests/")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT") or BUILD / "out"))
    parser.add_argument("--minutes", type=float, default=9.0, help="begin nothing after this (default: %(default)s)")
    return parser


def launch(options: argparse.Namespace, module: str | None) -> int:
    """Prepares the machine and runs a module, if one is named; returns the exit status, 0 if all that ran passed."""
    options.out.mkdir(parents=True, exist_ok=True)
    deadline = time.time() + 60 * options.minutes
    command = ["-m", module or "", "--out", str(options.out.resolve()), "--until", str(deadline)]
    if options.stand_in:
        if not _STAND_IN_PYTHON.exists():
            print(f"{_STAND_IN_PYTHON} is missing: `make test-torch` makes it", file=sys.stderr)
            return 2
        return subprocess.run([_STAND_IN_PYTHON, *command, "--stand-in"], cwd=ROOT, check=False).returncode
    try:
        collect(BUNDLE, store())
        machine = inspect_machine()
        print(machine.describe(), flush=True)
        python = prepare(machine, store())
        if module is None:
            print(f"packed {pack_extension(machine, store(), options.out)}")
    except (UnfitError, subprocess.CalledProcessError) as error:
        print(f"cannot go on: {error}", file=sys.stderr)
        return 2
    if module is None:
        return 0
    command += ["--store", str(store()), "--machine", json.dumps(machine.describe())]
    return subprocess.run([python, *command], cwd=ROOT, check=False).returncode
