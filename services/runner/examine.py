"""Looks at model files without loading them: `python -m services.runner.examine FILE…`.

For each file, in order, it prints an `Examination` as a line of JSON. Another process than the command's own, because
the command needs nothing that runners import.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from services.common.model_file import Examination
from services.common.settings import SettingsError
from services.runner.engines.llamacpp.model_file.facts import read_facts


def examine(path: Path) -> Examination:
    """Returns the facts of a file, or why it cannot be served."""
    try:
        return Examination(file=read_facts(path))
    except SettingsError as error:
        return Examination(refusal=str(error))


def main() -> None:
    """Examines the files that the command line names."""
    for name in sys.argv[1:]:
        sys.stdout.write(msgspec.json.encode(examine(Path(name))).decode() + "\n")


if __name__ == "__main__":
    main()
