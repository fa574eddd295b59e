"""Notices runners that have taken a call and make no progress with it, whatever their connection looks like.

A runner is believed as far as its progress reaches: one of which nothing has been heard gets only a few calls at first,
and more with each call that it makes progress with, however many free slots it advertises.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from msgspec import Struct

from services.common.errors import Code, MeshError

# Seconds between two looks at the calls.
TICK = 0.25
# So many calls may wait for their first sign of progress on a runner that has shown none yet.
FIRST_CALLS = 4
# After a call without progress, it is one until there is progress again. Beyond the most, the runner is believed.
_MOST_CALLS = 1 << 16
# No bound for progress is shorter, in seconds: runners tell of it about once a second.
SHORTEST_SILENCE = 3.0
# Runners that are remembered; those without calls are forgotten beyond it.
_MOST_RUNNERS = 1_000


class _Runner(Struct):
    # Calls without a sign of progress yet, and how many of them there may be.
    waiting: int = 0
    window: int = FIRST_CALLS


class WatchedCall(Struct, eq=False):
    """A call that runs. Whoever hears of it sets `heard`, which is all that a step costs."""

    runner: _Runner
    # How long it may be silent, in seconds, and what is called then.
    most_silence: float
    on_silence: Callable[[], None]
    heard: bool = False
    # Whether it has ever made progress.
    proven: bool = False
    # For how many seconds it has been silent.
    silence: float = 0.0


class ProgressWatch:
    """The calls of one edge. `run` looks at all of them; `clock` counts seconds and never goes back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._looked_at = clock()
        # A dict, because it keeps their order.
        self._calls: dict[WatchedCall, None] = {}
        self._runners: dict[str, _Runner] = {}

    def begin(self, runner_id: str, most_silence: float, on_silence: Callable[[], None]) -> WatchedCall:
        """Watches a call that is about to be sent.

        Raises MeshError OVERLOADED if the runner has to show progress with earlier calls first.
        """
        runner = self._runners.get(runner_id)
        if runner is None:
            self._forget_idle()
            runner = self._runners[runner_id] = _Runner()
        if runner.waiting >= runner.window:
            raise MeshError(Code.OVERLOADED, "The runner has shown no progress yet. Try again.", retry_after=1.0)
        runner.waiting += 1
        call = WatchedCall(runner, max(most_silence, SHORTEST_SILENCE), on_silence)
        self._calls[call] = None
        return call

    def prove(self, call: WatchedCall) -> None:
        """Notes the first sign of progress of a call."""
        call.proven = True
        runner = call.runner
        runner.waiting -= 1
        runner.window = min(2 * runner.window, _MOST_CALLS)

    def end(self, call: WatchedCall) -> None:
        """Watches a call no longer. Idempotent."""
        if call in self._calls:
            del self._calls[call]
            if not call.proven:
                call.runner.waiting -= 1

    def look(self) -> None:
        """Counts the silence of every call, and tells of those that have been silent for too long."""
        now = self._clock()
        # Of a pause of this process, or of the whole machine, runners are not guilty.
        passed, self._looked_at = min(now - self._looked_at, 2 * TICK), now
        silent = []
        for call in self._calls:
            if call.heard:
                call.heard, call.silence = False, 0.0
                continue
            call.silence += passed
            if call.silence >= call.most_silence:
                silent.append(call)
        for call in silent:
            # The call before it may have ended this one.
            if call in self._calls:
                self.end(call)
                call.runner.window = 1
                call.on_silence()

    async def run(self) -> None:
        """Looks again and again until cancelled."""
        while True:
            await asyncio.sleep(TICK)
            self.look()

    def _forget_idle(self) -> None:
        if len(self._runners) >= _MOST_RUNNERS:
            self._runners = {name: runner for name, runner in self._runners.items() if runner.waiting}
