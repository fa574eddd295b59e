"""A service whose background tasks die, another one in each life of its process.

Run it as `python -m tests.support.dying_service NAME DIRECTORY`. The victim is the first task that has not died yet. It
dies by an exception once the service serves and the file `kill` is in the directory, and leaves a file of its own name
there. A life without a victim leaves the file `survived`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from importlib import import_module
from pathlib import Path

from services.common.lifecycle.background_tasks import BackgroundTasks
from services.common.lifecycle.lifespan import Lifespan
from services.common.lifecycle.process import run_service
from tests.support.waiting import eventually

KILL = "kill"
SURVIVED = "survived"
SECRET = "what no log line may hold"

_start = BackgroundTasks.start
_serve = Lifespan.serve
_WAIT_SECONDS = 60.0


class Life:
    """One life of the process."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._serving = False
        self._victim = ""

    def start(self, tasks: BackgroundTasks, name: str, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Stands in for `BackgroundTasks.start`."""
        if not self._victim and not (self._directory / name).exists():
            self._victim = name
            work = self._die(work)
        return _start(tasks, name, work)

    async def serve(self, lifespan: Lifespan) -> None:
        """Stands in for `Lifespan.serve`."""
        self._serving = True
        if not self._victim:
            (self._directory / SURVIVED).touch()
        await _serve(lifespan)

    async def _die(self, work: Coroutine[None, None, None]) -> None:
        working = asyncio.create_task(work)
        try:
            await eventually(lambda: self._serving and (self._directory / KILL).exists(), _WAIT_SECONDS)
            (self._directory / self._victim).touch()
            raise RuntimeError(SECRET)
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)


def main(name: str, directory: Path) -> None:
    """Runs the service."""
    life = Life(directory)

    # Functions, because a bound method of another class would not be given the object that it is called on.
    def start(tasks: BackgroundTasks, name: str, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        return life.start(tasks, name, work)

    async def serve(lifespan: Lifespan) -> None:
        await life.serve(lifespan)

    # mypy rightly dislikes that methods are replaced.
    BackgroundTasks.start = start  # type: ignore[method-assign, assignment]
    Lifespan.serve = serve  # type: ignore[method-assign, assignment]
    run_service(import_module(f"services.{name}.__main__").serve)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
