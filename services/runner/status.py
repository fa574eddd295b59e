"""Tells routers how busy this runner is: at once where a router would be wrong, else a few times a second.

Every replica of the router hears every status, so what a status costs is multiplied by the replicas and the runners. A
router counts what it places itself. It is wrong only about what has ended, and about what other routers have placed.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

from services.runner.engines.base import AnyEngine, FreesLater
from services.runner.metrics import EngineFacts, KnowsFacts
from tiermesh.runner.v1.runner_pb2 import WatchStatusResponse

# Seconds between two statuses at least, while slots are free. A runner that was full reports its first free slot at
# once, because requests are waiting for it.
INTERVAL = 0.02
# For how long a change waits for others, in seconds, if no router has to know it at once.
PATIENCE = 0.25
# A router that is wrong by so many requests has to know it at once, and by this part of the slots.
_WRONG_BY, _WRONG_PART = 2, 4
# The engine's figures are for operators and cost a call to the GPUs, so they are asked for this often, in seconds.
_FACTS_LIFE = 1.0


class _Load(NamedTuple):
    draining: bool
    slots: int
    active: int
    # Calls admitted since the start.
    admitted: int


class _Watcher:
    """A router's stream: what it was told last, and whether that has to be put right."""

    def __init__(self) -> None:
        # Whether the router has to hear at once, whatever else happens.
        self.is_urgent = False
        self._told: _Load | None = None
        self._changed = asyncio.Event()
        self._urgent = asyncio.Event()

    def tell(self, load: _Load) -> None:
        """Notes what the router hears now."""
        self._told, self.is_urgent = load, False
        self._changed.clear()
        self._urgent.clear()

    def look(self, load: _Load) -> None:
        """Notes that the load is another one now."""
        self._changed.set()
        if self._told is None or _is_urgent(self._told, load):
            self.is_urgent = True
            self._urgent.set()

    async def wait(self) -> None:
        """Returns when the router has to hear again."""
        await self._changed.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await self._urgent.wait()


def _is_urgent(told: _Load, now: _Load) -> bool:
    """Whether a router that was told one load decides wrongly now."""
    if now.draining != told.draining or now.slots != told.slots:
        return True
    # Edges give it a few calls only until they have seen it make progress, and take it for full until it is heard of.
    if told.admitted < now.slots:
        return True
    # A router counts what it has placed since, but not what has ended.
    believed = told.active + now.admitted - told.admitted
    if (told.active >= now.slots) != (now.active >= now.slots) or believed >= now.slots > now.active:
        return True
    wrong = max(believed - now.active, abs(now.active - told.active))
    return wrong >= max(_WRONG_BY, now.slots // _WRONG_PART)


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
        self._watchers: dict[_Watcher, None] = {}
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
        """Tells the watchers of a change of load."""
        for watcher in self._watchers:
            # Twice for every request, so what is known already is not looked at again.
            if not watcher.is_urgent:
                watcher.look(self._load())

    def snapshot(self) -> WatchStatusResponse:
        """Returns the status now."""
        facts, load = self._recent_facts(), self._load()
        return WatchStatusResponse(
            runner_id=self._runner_id,
            state=WatchStatusResponse.STATE_DRAINING if load.draining else WatchStatusResponse.STATE_READY,
            slots=load.slots,
            active=load.active,
            admitted=load.admitted,
            pages_free=facts.pages_free if facts else 0,
            tokens_per_second=facts.tokens_per_second if facts else 0.0,
        )

    def _load(self) -> _Load:
        return _Load(self.draining, self._engine.slots, self._engine.active, self._admitted)

    def _recent_facts(self) -> EngineFacts | None:
        now = self._clock()
        if isinstance(self._engine, KnowsFacts) and now - self._facts_at >= _FACTS_LIFE:
            self._facts, self._facts_at = self._engine.facts(), now
        return self._facts

    async def watch(self) -> AsyncIterator[WatchStatusResponse]:
        """Yields the status now and after changes, without end."""
        watcher = _Watcher()
        self._watchers[watcher] = None
        try:
            while True:
                load = self._load()
                watcher.tell(load)
                yield self.snapshot()
                if load.active < load.slots:
                    await asyncio.sleep(INTERVAL)
                await watcher.wait()
        finally:
            del self._watchers[watcher]
