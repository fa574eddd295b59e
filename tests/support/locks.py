"""What the lock files in requirements/ pin."""

from __future__ import annotations

import re
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "requirements"


def pins(lock: str) -> list[Requirement]:
    """Returns the pins of a lock file, whose hashes stand on lines of their own."""
    lines = re.findall(r"^[a-z0-9][^\\#\n]*", (FOLDER / lock).read_text(), re.MULTILINE)
    return [Requirement(line.strip()) for line in lines]
