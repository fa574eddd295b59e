"""Has a runner's own code look at model files, in a process of its own: the command imports no engine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from services.cli.errors import CliError
from services.common.catalog import Kind
from services.common.model_file import Examination, ModelFile, ModelServer


def examine_files(paths: Sequence[Path]) -> list[ModelFile]:
    """Returns the facts of each file; raises CliError with a line for each that cannot be served."""
    return [found.file for found in _examine([str(path) for path in paths]) if found.file is not None]


def examine_server(url: str, *, key: str, model: str, kind: Kind | None = None) -> ModelServer:
    """Returns the facts of the model at a server; raises CliError if it cannot be used.

    The model is for work of the `kind`, or if that is None, for what the server says of it.
    """
    if not url.startswith(("http://", "https://")):
        raise CliError(f"{url} is no URL of a server. Write it as in http://127.0.0.1:8080/v1.")
    chosen = {"KEY": key, "MODEL": model, "KIND": kind or ""}
    found = _examine([url], **{f"TIERMESH_RUNNER_UPSTREAM_{name}": value for name, value in chosen.items()})
    (server,) = (each.server for each in found if each.server is not None)
    return server


def _examine(names: Sequence[str], **environ: str) -> list[Examination]:
    # -P: a folder named "services" where the user stands must not be taken for ours.
    command = [sys.executable, "-P", "-m", "services.runner.examine", *names]
    # A key is no word of a command line, which everybody on this machine can read.
    done = subprocess.run(  # noqa: S603 - there is no shell
        command, capture_output=True, text=True, check=False, env={**os.environ, **environ}
    )
    try:
        found = [msgspec.json.decode(line, type=Examination) for line in done.stdout.splitlines()]
    except msgspec.DecodeError:
        found = []
    if done.returncode or len(found) != len(names):
        said = done.stderr.strip().splitlines()
        raise CliError(f"The models cannot be examined: {said[-1] if said else 'the runner said nothing'}")
    if refusals := [each.refusal for each in found if each.refusal]:
        raise CliError("\n".join(f"{refusal[:1].upper()}{refusal[1:]}." for refusal in refusals))
    return found
