"""The memory of this machine."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

# Where Linux says how much memory a container may have: version 2 of its control groups, and version 1.
_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def machine_memory(limits: Iterable[Path] = _LIMITS) -> int:
    """Returns how much memory the machine has, or the container if that is less, in bytes."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([memory, *(limit for path in limits if (limit := _limit(path)))])


def _limit(path: Path) -> int:
    """Returns the limit in a file; 0 if there is none."""
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return 0
    return int(text) if text.isdigit() else 0
