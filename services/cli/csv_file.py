"""Writes CSV where the user wants it, complete or not at all."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from services.cli.errors import CliError

# What stands for standard output.
STANDARD_OUTPUT = "-"

WriteRow = Callable[[Sequence[object]], object]


@contextmanager
def csv_file(path: str) -> Iterator[WriteRow]:
    """Gives a function that writes one row. A file gets its name only once it is complete; raises CliError."""
    if path == STANDARD_OUTPUT:
        yield csv.writer(sys.stdout, lineterminator="\n").writerow
        return
    part = Path(f"{path}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            yield csv.writer(file, lineterminator="\n").writerow
        part.replace(path)
    except OSError as error:
        raise CliError(f"cannot write {path}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
