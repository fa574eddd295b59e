"""The live table: every runner that etcd names or that still talks to us, and who of them can be chosen.

etcd says who exists; each runner's status stream says who lives. Where the two disagree:

- A broken stream takes a runner out at once, however long its lease still lasts.
- A runner that lives stays although etcd has lost it, because etcd may have been wiped or its lease may have run out
  while etcd was slow; it registers again by itself. `unregistered_for` finds those that never did.
- A runner that is draining, or that does not live, goes when its record goes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Protocol

from services.common.registry import RunnerRecord
from services.common.telemetry.logs import get_logger
from services.router.metrics import EJECTIONS, Runner
from services.router.runners.live_runner import Health, LiveRunner
from services.router.runners.load import MOST_SLOTS, Report
from services.router.runners.room import Room

log = get_logger()
_NO_ROOM = Room(())


class StatusStreams(Protocol):
    """Keeps a status stream to each runner and calls the table's `report` and `lost`."""

    def open(self, runner: LiveRunner, delay: float) -> None:
        """Opens the stream after `delay` seconds; one that is there already is closed first."""

    def close(self, runner: LiveRunner) -> None:
        """Closes the stream and tells nothing more of it."""


class Table:
    """All runners by id. `on_change` is called when a runner has come, gone or got room."""

    def __init__(self, streams: StatusStreams, clock: Callable[[], float], most_slots: int = MOST_SLOTS) -> None:
        """`most_slots` are believed of one runner at most."""
        self.on_change: Callable[[], None] = lambda: None
        # Whether etcd has told us once who exists.
        self.synced = False
        self._streams = streams
        self._clock = clock
        self._most_slots = most_slots
        self._runners: dict[str, LiveRunner] = {}
        self._serving: dict[str, list[LiveRunner]] = {}
        self._room: dict[str, Room] = {}
        # The IDs of runners that operators have drained, of runners that are not known too.
        self._drained: set[str] = set()

    @property
    def ids(self) -> Collection[str]:
        """The ID of every runner."""
        return self._runners.keys()

    def all(self) -> list[LiveRunner]:
        """Returns every runner, ordered by id."""
        return sorted(self._runners.values(), key=lambda runner: runner.id)

    def states(self) -> list[Runner]:
        """Returns the state of every runner, for metrics."""
        now = self._clock()
        return [
            Runner(runner.record.tier, runner.state, runner.load.slots, runner.load.current(now))
            for runner in self._runners.values()
        ]

    def serving(self, model: str) -> list[LiveRunner]:
        """Returns the runners on which requests for a model may be placed; not to be changed by the caller."""
        return self._serving.get(model, [])

    def room(self, model: str) -> Room:
        """Returns which of these runners may have room; until the next change of the table."""
        return self._room.get(model, _NO_ROOM)

    def serves(self, runner: LiveRunner, model: str) -> bool:
        """Whether requests for a model may be placed on a runner, which may have left."""
        return runner.serving and self._runners.get(runner.id) is runner and model in runner.record.models

    def connecting(self) -> list[LiveRunner]:
        """Returns the runners of which nothing is known yet."""
        return [runner for runner in self._runners.values() if runner.health is Health.CONNECTING]

    def unregistered_for(self, seconds: float) -> list[LiveRunner]:
        """Returns the runners that etcd has not known for at least so long."""
        limit = self._clock() - seconds
        since = ((runner, runner.unregistered_since) for runner in self._runners.values())
        return [runner for runner, moment in since if moment is not None and moment <= limit]

    # What etcd says.

    def replace(self, records: Iterable[RunnerRecord]) -> None:
        """Takes over etcd's whole list."""
        registered = {record.id: record for record in records}
        for runner_id in self._runners.keys() - registered.keys():
            self.unregister(runner_id)
        for record in registered.values():
            self.register(record)
        self.synced = True
        self.on_change()

    def register(self, record: RunnerRecord) -> None:
        """Takes over one record."""
        runner = self._runners.get(record.id)
        if runner is None or runner.record.address != record.address:
            if runner is not None:
                self._streams.close(runner)
            runner = self._runners[record.id] = LiveRunner(record, self._most_slots)
            runner.drained = record.id in self._drained
            log.info("runner_registered", runner=record.id, tier=record.tier, address=record.address)
            self._streams.open(runner, 0.0)
        else:
            runner.take(record)
            if runner.health in {Health.DOWN, Health.PROBING}:
                # Whoever registers is alive: there is no need to wait out a back-off.
                self._streams.open(runner, 0.0)
        self._changed()

    def unregister(self, runner_id: str) -> None:
        """Notes that etcd has no record of a runner any more."""
        runner = self._runners.get(runner_id)
        if runner is None:
            return
        if runner.draining or runner.health in {Health.CONNECTING, Health.DOWN}:
            self.remove(runner)
        elif runner.unregistered_since is None:
            runner.unregistered_since = self._clock()
            log.warning("runner_lost_its_record", runner=runner_id, tier=runner.record.tier)

    def remove(self, runner: LiveRunner) -> None:
        """Forgets a runner."""
        del self._runners[runner.id]
        self._streams.close(runner)
        log.info("runner_removed", runner=runner.id, tier=runner.record.tier)
        self._changed()

    # What operators want.

    def replace_drained(self, runner_ids: Collection[str]) -> None:
        """Takes over the whole list of drained runners."""
        self._drained = set(runner_ids)
        for runner in self._runners.values():
            runner.drained = runner.id in self._drained
        self._changed()

    def set_drained(self, runner_id: str, *, drained: bool) -> None:
        """Takes a runner out of use, or uses it again."""
        (self._drained.add if drained else self._drained.discard)(runner_id)
        self.replace_drained(self._drained)

    # What its status stream says.

    def report(self, runner: LiveRunner, report: Report) -> None:
        """Takes over a status."""
        was_draining, was_up = runner.draining, runner.health is Health.UP
        runner.says_draining = report.draining
        if was_up:
            runner.load.report(report)
        else:
            runner.health = Health.UP
            runner.outage.end()
            runner.load.restart(report)
            log.info("runner_up", runner=runner.id, tier=runner.record.tier)
        if runner.draining and runner.unregistered_since is not None:
            self.remove(runner)
        elif not was_up or was_draining != runner.draining:
            self._changed()
        else:
            self._look_for_room(runner)
            if runner.load.has_room(self._clock()):
                self.on_change()

    def lost(self, runner: LiveRunner, reason: str) -> None:
        """Takes a runner out because its stream broke or could not be opened."""
        if runner.health is Health.UP:
            EJECTIONS.labels(runner.record.tier, "stream_lost").inc()
        if runner.outage.begin(reason):
            # Only what is new: attempts to connect fail again and again.
            log.warning("runner_lost", runner=runner.id, tier=runner.record.tier, reason=reason)
        runner.health = Health.DOWN
        if runner.unregistered_since is None:
            self._changed()
        else:
            self.remove(runner)

    # What became of requests.

    def fail(self, runner_id: str) -> None:
        """Takes a runner out because it failed a request; one that is out already is not punished twice."""
        runner = self._runners.get(runner_id)
        if runner is not None and runner.health is Health.UP:
            self._eject(runner, runner.ejection.fail(self._clock()), "request_failed")

    def stall(self, runner_id: str) -> None:
        """Takes a runner out because it took a request and made no progress, however well its status looks.

        Reports of requests that it took before it was ejected count too: each has lost its bound of silence to it.
        """
        runner = self._runners.get(runner_id)
        if runner is not None and runner.health in {Health.UP, Health.PROBING}:
            self._eject(runner, runner.ejection.stall(self._clock()), "stalled")

    def _eject(self, runner: LiveRunner, seconds: float, reason: str) -> None:
        runner.health = Health.PROBING
        EJECTIONS.labels(runner.record.tier, reason).inc()
        log.warning("runner_ejected", runner=runner.id, tier=runner.record.tier, reason=reason, seconds=seconds)
        self._streams.open(runner, seconds)
        self._changed()

    def refuse(self, runner_id: str) -> None:
        """Notes that a runner had no room for a request that was placed on it."""
        runner = self._runners.get(runner_id)
        if runner is not None:
            runner.load.refuse(self._clock())
            self._look_for_room(runner)

    def _look_for_room(self, runner: LiveRunner) -> None:
        """Lets the next placements see whether a runner has room now."""
        for model in runner.record.models:
            self.room(model).open(runner)

    def give_back(self, runner_id: str) -> None:
        """Notes that a request that was placed on a runner will not be sent to it."""
        runner = self._runners.get(runner_id)
        if runner is not None:
            runner.load.give_back()
            self._look_for_room(runner)
            self.on_change()

    def _changed(self) -> None:
        """Sorts the serving runners by model anew: seldom done, so that each placement finds them ready."""
        serving: dict[str, list[LiveRunner]] = {}
        for runner in self._runners.values():
            if runner.serving:
                for model in runner.record.models:
                    serving.setdefault(model, []).append(runner)
        self._serving = serving
        self._room = {model: Room(runners) for model, runners in serving.items()}
        self.on_change()
