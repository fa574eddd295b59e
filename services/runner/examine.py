"""Looks at models without loading them: `python -m services.runner.examine FILE…` or `… URL…`.

For each file, or server with OpenAI's API, in order, it prints an `Examination` as a line of JSON. The settings
TIERMESH_RUNNER_UPSTREAM_… hold for servers, which are asked what their model is for if none says it. Another process
than the command's own, because the command needs nothing that runners import.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import msgspec

from services.common.catalog import Kind
from services.common.model_file import Examination, ModelServer
from services.common.settings import SettingsError, split_list
from services.runner.engines.llamacpp.model_file.facts import read_facts
from services.runner.engines.upstream.facts import ask_server

_SETTINGS = ("KEY", "MODEL", "KIND", "VOICES")


def examine(name: str) -> Examination:
    """Returns the facts of a file or a server, or why it cannot be served."""
    try:
        if "://" in name:
            return Examination(server=asyncio.run(_ask(name)))
        return Examination(file=read_facts(Path(name)))
    except SettingsError as error:
        return Examination(refusal=str(error))


async def _ask(url: str) -> ModelServer:
    key, model, kind, voices = (os.environ.get(f"TIERMESH_RUNNER_UPSTREAM_{part}", "") for part in _SETTINGS)
    return await ask_server(url, key, model, msgspec.convert(kind, Kind) if kind else None, split_list(voices))


def main() -> None:
    """Examines what the command line names."""
    for name in sys.argv[1:]:
        sys.stdout.write(msgspec.json.encode(examine(name)).decode() + "\n")


if __name__ == "__main__":
    main()
