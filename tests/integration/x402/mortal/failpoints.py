"""Points of a process at which it dies by SIGKILL, if a file names the point."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

# The variable that says where the file is.
VARIABLE = "X402_FAILPOINT_FILE"


def plant(service: str, owner: type, **methods: str) -> None:
    """Has the process die before or after methods: `billing before claim`, where `claim` is what a method is called."""
    for name, called in methods.items():
        setattr(owner, name, _mortal(getattr(owner, name), service, called))


def die_at(point: str) -> None:
    """Ends the process if the file names the point. Its successor goes on."""
    file = Path(os.environ[VARIABLE])
    try:
        named = file.read_text() == point
    except FileNotFoundError:
        # No point is named, or another process has died at it just now.
        return
    if named:
        file.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


def _mortal(method: Callable[..., Any], service: str, called: str) -> Callable[..., Any]:
    async def run(*arguments: Any, **options: Any) -> Any:
        die_at(f"{service} before {called}")
        result = await method(*arguments, **options)
        die_at(f"{service} after {called}")
        return result

    return run
