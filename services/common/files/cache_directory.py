"""Where what can be made or fetched again is kept."""

from __future__ import annotations

import os
from pathlib import Path


def default_cache() -> Path:
    """Returns the user's directory for what can be made again, as the XDG Base Directory Specification has it."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tiermesh"
