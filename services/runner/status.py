"""Tells routers how busy this runner is: at once where a router would be wrong, else a few times a second.

Every replica of the router hears every status, so what a status costs is multiplied by the replicas and the runners. A
router counts what it places itself. It is wrong only about what has ended, and about what other routers have placed.
"""

from __future__ import annotations

import asyncio
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
PATIENCE = 0.5
# While it works on the first requests of its life, a runner is heard of at least so often, in seconds, even if nothing
# changes: its status may cross with an edge's word that it is full for now, which the next one takes back.
FIRST_PATIENCE = 0.1
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
    """A router's stream: what it was told last, and when it has to hear again."""

    def __init__(self) -> None:
        # Whether the router has to hear at once, whatever else happens.
        self.is_urgent = False
        self._loop = asyncio.get_running_loop()
        self._told: _Load | None = None
        # Before this moment it hears nothing, on the loop's clock.
        self._not_before = 0.0
        # Sets the event when it has to hear again: one timer and one event, because this runs for many requests.
        self._timer: asyncio.TimerHandle | None = None
        self._due = asyncio.Event()

    def tell(self, load: _Load) -> None:
        """Notes what the router hears now."""
        self._told, self.is_urgent = load, False
        self._not_before = self._loop.time() + (INTERVAL if load.active < load.slots else 0.0)
        self._due.clear()
        self.forget_timer()
        if load.active and _is_new(load):
            self._timer = self._loop.call_later(FIRST_PATIENCE, self._due.set)

    def look(self, load: _Load) -> None:
        """Notes that the load is another one now."""
        self.is_urgent = self._told is None or _is_urgent(self._told, load)
        if self._timer is not None and not self.is_urgent:
            return
        self.forget_timer()
        now = self._loop.time()
        if self.is_urgent and now >= self._not_before:
            self._due.set()
        else:
            moment = max(now, self._not_before) + (0.0 if self.is_urgent else PATIENCE)
            self._timer = self._loop.call_at(moment, self._due.set)

    async def wait(self) -> None:
        """Returns when the router has to hear again."""
        await self._due.wait()

    def forget_timer(self) -> None:
        """Lets the router hear nothing because of what has changed so far."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _is_urgent(told: _Load, now: _Load) -> bool:
    """Whether a router that was told one load decides wrongly now."""
    if now.draining != told.draining or now.slots != told.slots:
        return True
    # Edges give it a few calls only until they have seen it make progress, and take it for full until it is heard of.
    if _is_new(told):
        return True
    # A router counts what it has placed since, but not what has ended.
    believed = told.active + now.admitted - told.admitted
    if (told.active >= now.slots) != (now.active >= now.slots) or believed >= now.slots > now.active:
        return True
    wrong = max(believed - now.active, abs(now.active - told.active))
    return wrong >= max(_WRONG_BY, now.slots // _WRONG_PART)


def _is_new(load: _Load) -> bool:
    """Whether a runner is at the first requests of its life."""
    return load.admitted < load.slots


class StatusBoard:
    """The runner's state and load, and those who watch it."""

    def __init__(self, runner_id: str, engine: AnyEngine, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is steady, in seconds."""
        self._runner_id = runner_id
        self._engine = engine
        # Asked here once: to compare an object with a protocol takes as long as all the rest of a status.
        self._knows_facts = engine if isinstance(engine, KnowsFacts) else None
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
        load = self._load()
        for watcher in self._watchers:
            # Twice for every request, so what is known already is not looked at again.
            if not watcher.is_urgent:
                watcher.look(load)

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
        if self._knows_facts is not None and now - self._facts_at >= _FACTS_LIFE:
            self._facts, self._facts_at = self._knows_facts.facts(), now
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
                await watcher.wait()
        finally:
            watcher.forget_timer()
            del self._watchers[watcher]
