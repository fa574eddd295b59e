"""Tells routers how busy this runner is: at once after a pause, at most about 50 times a second when busy."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

from services.runner.engines.base import AnyEngine, FreesLater
from services.runner.metrics import EngineFacts, KnowsFacts
from tiermesh.runner.v1.runner_pb2 import WatchStatusResponse

# Seconds between two statuses while slots are free. A runner that was full reports its first free slot at once,
# because requests are waiting for it.
INTERVAL = 0.02
# The engine's figures are for operators and cost a call to the GPUs, so they are asked for this often, in seconds.
_FACTS_LIFE = 1.0


class StatusBoard:
    """The runner's state and load, and those who watch it."""

    def __init__(self, runner_id: str, engine: AnyEngine, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is steady, in seconds."""
        self._runner_id = runner_id
        self._engine = engine
        self._clock = clock
        self._facts: EngineFacts | None = None
        self._facts_at = float("-inf")
        self._admitted = 0
        # A dict, because it keeps the order in which they came.
        self._watchers: dict[asyncio.Event, None] = {}
        self.draining = False
        if isinstance(engine, FreesLater):
            engine.when_freed(self.changed)

    def admitted(self) -> None:
        """Notes that a call was admitted."""
        self._admitted += 1
        self.changed()

    def drain(self) -> None:
        """Announces that nothing new is taken."""
        self.draining = True
        self.changed()

    def changed(self) -> None:
        """Wakes the watchers after a change of load."""
        for watcher in self._watchers:
            watcher.set()

    def snapshot(self) -> WatchStatusResponse:
        """Returns the status now."""
        facts = self._recent_facts()
        return WatchStatusResponse(
            runner_id=self._runner_id,
            state=WatchStatusResponse.STATE_DRAINING if self.draining else WatchStatusResponse.STATE_READY,
            slots=self._engine.slots,
            active=self._engine.active,
            admitted=self._admitted,
            pages_free=facts.pages_free if facts else 0,
            tokens_per_second=facts.tokens_per_second if facts else 0.0,
        )

    def _recent_facts(self) -> EngineFacts | None:
        now = self._clock()
        if isinstance(self._engine, KnowsFacts) and now - self._facts_at >= _FACTS_LIFE:
            self._facts, self._facts_at = self._engine.facts(), now
        return self._facts

    async def watch(self) -> AsyncIterator[WatchStatusResponse]:
        """Yields the status now and after each change, without end."""
        changed = asyncio.Event()
        self._watchers[changed] = None
        try:
            while True:
                changed.clear()
                status = self.snapshot()
                yield status
                if status.active < status.slots:
                    await asyncio.sleep(INTERVAL)
                await changed.wait()
        finally:
            del self._watchers[changed]
