"""Tasks that run as long as their process does: one that ends by itself is a defect, and never goes unnoticed.

`asyncio.TaskGroup` would do the same but for one thing: it cancels the body of its block at once, and the process has
to drain first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

from services.common.telemetry.logs import get_logger

log = get_logger()


class BackgroundTaskError(Exception):
    """A background task ended by itself; the message names it."""


class BackgroundTasks:
    """The named background tasks of one process. `on_death` is called whenever one dies; it must not raise.

    A task dies by raising an exception at any time, or by returning or being cancelled while `stop` is not set.
    """

    def __init__(self, stop: asyncio.Event, on_death: Callable[[], None]) -> None:
        self._stop = stop
        self._on_death = on_death
        self._tasks: list[asyncio.Task[None]] = []
        # The first task that died.
        self._dead: asyncio.Task[None] | None = None

    def start(self, name: str, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Runs `work` until `end`; a death is logged under `name`."""
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        self._tasks.append(task)
        return task

    async def end(self) -> None:
        """Cancels all tasks and waits until they have ended. Only after `stop` is set, or the tasks count as dead."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def check(self) -> None:
        """Raises BackgroundTaskError if a task has died."""
        if self._dead is not None:
            error = None if self._dead.cancelled() else self._dead.exception()
            raise BackgroundTaskError(f"the background task {self._dead.get_name()} died") from error

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is None and self._stop.is_set():
            return
        if self._dead is None:
            self._dead = task
        how = "raised" if error is not None else "was cancelled" if task.cancelled() else "returned"
        log.critical("background_task_died", task=task.get_name(), how=how, exc_info=error)
        self._on_death()
