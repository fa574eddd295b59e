"""Looks at models without loading them: `python -m services.runner.examine FILE…` or `… URL…`.

For each file, or server with OpenAI's API, in order, it prints an `Examination` as a line of JSON. The settings
TIERMESH_RUNNER_UPSTREAM_KEY and TIERMESH_RUNNER_UPSTREAM_MODEL hold for servers. Another process than the command's
own, because the command needs nothing that runners import.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import msgspec

from services.common.model_file import Examination
from services.common.settings import SettingsError
from services.runner.engines.llamacpp.model_file.facts import read_facts
from services.runner.engines.upstream.facts import ask_server


def examine(name: str) -> Examination:
    """Returns the facts of a file or a server, or why it cannot be served."""
    try:
        if "://" in name:
            key, model = (os.environ.get(f"TIERMESH_RUNNER_UPSTREAM_{part}", "") for part in ("KEY", "MODEL"))
            return Examination(server=asyncio.run(ask_server(name, key, model)))
        return Examination(file=read_facts(Path(name)))
    except SettingsError as error:
        return Examination(refusal=str(error))


def main() -> None:
    """Examines what the command line names."""
    for name in sys.argv[1:]:
        sys.stdout.write(msgspec.json.encode(examine(name)).decode() + "\n")


if __name__ == "__main__":
    main()
