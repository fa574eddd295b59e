"""The life of a service process, the same for all services: what starts, in which order, and what ends it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from services.common.catalog_file import CatalogFile
from services.common.lifecycle.background_tasks import BackgroundTasks
from services.common.settings import ServiceSettings
from services.common.telemetry.admin import AdminServer, Check, always
from services.common.telemetry.build_info import tell_build
from services.common.telemetry.configured_tracing import open_tracing
from services.common.telemetry.logs import configure_logs

# How long what runs may take to finish after a background task has died, in seconds. The process is broken, and its
# successor starts only when it has ended.
DEATH_DRAIN_SECONDS = 5.0


class Lifespan:
    """What every service process has. `async with` closes all of it in good order, however the block ends.

    Start: logs, version, catalog, tracing, the task that follows the catalog. Then the block opens what is the
    service's own, serves until `stop` is set, and drains. End: all background tasks, and then what was opened, the
    last first.

    `stop` is set by a signal, and by the death of a background task; the block then ends as it always does, and leaving
    it raises BackgroundTaskError. Making a Lifespan raises SettingsError and CatalogError. `tracing_ratio` is the part
    of the requests that are recorded, of those for which no caller has decided it.
    """

    def __init__(
        self, name: str, settings: ServiceSettings, stop: asyncio.Event, *, tracing_ratio: float = 1.0
    ) -> None:
        configure_logs(name, format=settings.log_format, level=settings.log_level)
        tell_build(name)
        self._settings = settings
        self._stop = stop
        self._catalog_file = CatalogFile(settings.catalog_file)
        # Kept what the file says.
        self.catalog = self._catalog_file.catalog
        self.tracing = open_tracing(settings, name, ratio=tracing_ratio)
        self._background = BackgroundTasks(stop, self._die)
        self._resources = AsyncExitStack()
        self._serving = False
        self._dying = False
        self._ready: Check = always

    @property
    def drain_seconds(self) -> float:
        """How long what runs may take to finish: as the settings say, but not long once a background task has died."""
        seconds = self._settings.drain_seconds
        return min(seconds, DEATH_DRAIN_SECONDS) if self._dying else seconds

    async def start_admin(self, *, ready: Check = always, healthy: Check = always) -> None:
        """Serves /metrics, /healthz and /readyz; the last one fails before `serve` and once `stop` is set.

        In between it answers by `ready`. Raises OSError if the address is taken.
        """
        self._ready = ready
        admin = AdminServer(self._settings.admin_listen, ready=self.is_ready, healthy=healthy)
        await admin.start()
        self.close_at_end(admin.stop)

    def is_ready(self) -> bool:
        """What /readyz tells: whether the process serves, and its own check says that it can."""
        return self._serving and not self._stop.is_set() and self._ready()

    def close_at_end(self, close: Callable[[], Awaitable[object]]) -> None:
        """Has `close` called at the end, after the background tasks and after all that is given later."""
        self._resources.push_async_callback(close)

    def run_in_background(self, name: str, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Runs `work` for as long as the process lives. Its death ends the process."""
        return self._background.start(name, work)

    async def serve(self) -> None:
        """Makes /readyz answer by its check, and returns when the process has to drain."""
        self._serving = True
        await self._stop.wait()

    async def stops_within(self, seconds: float) -> bool:
        """Waits so long, and returns whether the process has to end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        return self._stop.is_set()

    async def end_background_tasks(self) -> None:
        """Cancels the background tasks, all at once, and waits for their end."""
        # From now on they may end.
        self._stop.set()
        await self._background.end()

    def _die(self) -> None:
        self._dying = True
        self._stop.set()

    async def __aenter__(self) -> Self:
        if self.tracing is not None:
            self.close_at_end(self.tracing.close)
        self.run_in_background("catalog", self._catalog_file.follow())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.end_background_tasks()
        await self._resources.aclose()
        if error is None:
            self._background.check()
