"""`python -m gpu prepare|test|bench`: run by the Python that has torch; imports nothing but the standard library."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from gpu.bundle import BUNDLE, ROOT
from gpu.environment import collect, prepare, store
from gpu.extension import pack_extension
from gpu.machine import UnfitError, inspect_machine

_STAND_IN_PYTHON = ROOT / ".venv-torch" / "bin" / "python"


def main() -> int:
    """Returns the exit status: 0 if everything that was run passed."""
    parser = argparse.ArgumentParser(prog="python -m gpu", description=__doc__)
    parser.add_argument("command", choices=["prepare", "test", "bench"])
    parser.add_argument("--stand-in", action="store_true", help="run the same on the CPU, over the stand-in of tests/")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT") or ROOT / "gpu" / "out"))
    parser.add_argument("--minutes", type=float, default=9.0, help="begin nothing after this (default: %(default)s)")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    deadline = time.time() + 60 * options.minutes
    command = ["-m", "gpu.run", options.command, "--out", str(options.out.resolve()), "--until", str(deadline)]
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
        if options.command == "prepare":
            print(f"packed {pack_extension(machine, store(), options.out)}")
    except (UnfitError, subprocess.CalledProcessError) as error:
        print(f"cannot go on: {error}", file=sys.stderr)
        return 2
    if options.command == "prepare":
        return 0
    command += ["--store", str(store()), "--machine", json.dumps(machine.describe())]
    return subprocess.run([python, *command], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
