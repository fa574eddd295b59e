"""Has a runner's own code look at model files, in a process of its own: the command imports no engine."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from services.cli.errors import CliError
from services.common.model_file import Examination, ModelFile


def examine_files(paths: Sequence[Path]) -> list[ModelFile]:
    """Returns the facts of each file; raises CliError with a line for each that cannot be served."""
    # -P: a folder named "services" where the user stands must not be taken for ours.
    command = [sys.executable, "-P", "-m", "services.runner.examine", *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - there is no shell
    try:
        found = [msgspec.json.decode(line, type=Examination) for line in done.stdout.splitlines()]
    except msgspec.DecodeError:
        found = []
    if done.returncode or len(found) != len(paths):
        said = done.stderr.strip().splitlines()
        raise CliError(f"The model files cannot be examined: {said[-1] if said else 'the runner said nothing'}")
    if refusals := [each.refusal for each in found if each.file is None]:
        raise CliError("\n".join(f"{refusal[:1].upper()}{refusal[1:]}." for refusal in refusals))
    return [each.file for each in found if each.file is not None]
