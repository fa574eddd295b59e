"""Gathers what streams of events have to send while the event loop is behind, so that it leaves in fewer writes.

A write to a socket costs more than everything else that a token costs. It is not worth a delay: what comes alone is
written at once, and no timer is involved.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from services.common.telemetry.logs import get_logger

log = get_logger()

# What comes so many seconds or less after what came before may mean that the loop is behind. The clock of uvloop counts
# milliseconds, and shows the same time for all of one turn, so this is one of them.
RECENT = 0.0015
# So many turns of the loop without anything new mean that it is not. A message of gRPC that is here already takes two
# to reach its reader: one to hear of it, one to wake the task.
QUIET_TURNS = 3
# What waits is sent after so many turns at the latest.
MOST_TURNS = 16


class Writer(Protocol):
    """What has something to send."""

    def flush(self) -> None:
        """Sends what waits, in one write."""


class Gathering:
    """Decides for all streams of an edge whether what comes is written at once or waits for what follows.

    An idle loop takes the turns after a write at once, and nothing comes in them. A loop that is behind reads further
    messages of runners in them, with further tokens for the same clients: these leave together.
    """

    def __init__(self) -> None:
        # When something was last written, on the loop's clock.
        self.written_at = 0.0
        # Whether what comes now waits, and whether something has come in this turn.
        self.waits = False
        self.came = False
        self._begun = False
        self._quiet = 0
        self._turns = 0
        self._writers: list[Writer] = []

    def note(self, now: float) -> None:
        """Notes that something is written at once; if there was something shortly before, later turns gather."""
        recent, self.written_at = now - self.written_at <= RECENT, now
        if recent and not self._begun:
            self._begun = True
            self._quiet = 0
            asyncio.get_running_loop().call_soon(self._turn)

    def add(self, writer: Writer) -> None:
        """Has a writer flushed with the others."""
        self._writers.append(writer)

    def _turn(self) -> None:
        loop = asyncio.get_running_loop()
        self._quiet = 0 if self.came else self._quiet + 1
        self._turns += 1
        over = self._quiet == QUIET_TURNS
        if over or self._turns == MOST_TURNS:
            self._flush(loop.time())
        self.waits, self.came = not over, False
        if over:
            self._begun = False
        else:
            loop.call_soon(self._turn)

    def _flush(self, now: float) -> None:
        self._turns = 0
        writers, self._writers = self._writers, []
        if writers:
            self.written_at = now
        for writer in writers:
            try:
                writer.flush()
            except Exception:
                # A defect of one stream holds up no other.
                log.exception("flush_failed")
