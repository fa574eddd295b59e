"""Starts, watches and stops the processes of a mesh together."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from services.cli.local.child import Child, StartError
from services.cli.local.log_output import LogOutput, Show
from services.cli.local.mesh import DRAIN_SECONDS, Process, stop_order

# A process that has not ended by itself so long after SIGTERM is killed.
_STOP_SECONDS = DRAIN_SECONDS + 3.0


class Supervisor:
    """The processes of one mesh. `started` is called whenever one of them is a new process."""

    def __init__(
        self,
        processes: Sequence[Process],
        logs: Path,
        *,
        show: Show,
        say: Callable[[str], None],
        started: Callable[[], None],
    ) -> None:
        self._children = {
            process.name: Child(
                process,
                LogOutput(process.name, logs / f"{process.name}.log", show),
                say=say,
                started=started,
                monotonic=time.monotonic,
            )
            for process in processes
        }
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @property
    def pids(self) -> dict[str, int]:
        """The process ids, by service."""
        return {name: child.pid for name, child in self._children.items()}

    def start(self) -> None:
        """Starts everything at once; whoever needs another service waits for it by itself."""
        self._tasks = {name: asyncio.create_task(child.run()) for name, child in self._children.items()}

    async def ready(self, *names: str) -> None:
        """Waits until each of these services has served once."""
        for name in names:
            await self._children[name].ready.wait()

    async def failed(self) -> None:
        """Waits until a process cannot be started, and raises its StartError."""
        done, _ = await asyncio.wait(self._tasks.values(), return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    def too_late(self, seconds: float) -> StartError:
        """Returns the error for a start that took too long: the first service that does not serve, and its log."""
        late = (child for child in self._children.values() if not child.ready.is_set())
        return next(late, self._children["router"]).failure(f"does not serve after {seconds:g} s")

    async def stop(self) -> None:
        """Ends the processes one after another, each gently first; none is left when this returns."""
        for child in self._children.values():
            child.retire()
        for name in stop_order(self._children):
            if name in self._tasks:
                await self._stop(self._children[name], self._tasks[name])

    def kill(self) -> None:
        """Ends everything at once; `stop` then has nothing to wait for."""
        for child in self._children.values():
            child.retire()
            child.send(signal.SIGKILL)

    async def _stop(self, child: Child, task: asyncio.Task[None]) -> None:
        child.send(signal.SIGTERM)
        await asyncio.wait([task], timeout=_STOP_SECONDS)
        while not task.done():
            child.send(signal.SIGKILL)
            await asyncio.wait([task], timeout=1.0)
        # What ended a process that was to end anyway is of no interest.
        if not task.cancelled():
            task.exception()
