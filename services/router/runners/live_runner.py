"""One runner as the router sees it: what it registered, whether it lives, and its load."""

from __future__ import annotations

from enum import Enum

from services.common.registry import RunnerRecord
from services.common.retry.outage import Outage
from services.router.runners.ejection import Ejection
from services.router.runners.load import MOST_SLOTS, Load


class Health(Enum):
    """What the status stream tells about a runner's life."""

    # Registered; the first attempt to open the stream has not ended.
    CONNECTING = "connecting"
    # The stream is open and has said something.
    UP = "up"
    # Ejected because a request failed; the stream is being opened anew, and only a fresh status brings the runner back.
    PROBING = "probing"
    # The stream broke or could not be opened.
    DOWN = "down"


class LiveRunner:
    """One registered runner; only the table changes it."""

    def __init__(self, record: RunnerRecord, most_slots: int = MOST_SLOTS) -> None:
        self.id = record.id
        self.load = Load(record.slots, most_slots)
        self.ejection = Ejection()
        self.health = Health.CONNECTING
        # Begins when the stream breaks or cannot be opened.
        self.outage = Outage()
        # What the last status said.
        self.says_draining = False
        # Whether an operator has drained it.
        self.drained = False
        # Since when etcd has no record of it, monotonic seconds; None while it is registered.
        self.unregistered_since: float | None = None
        self.take(record)

    def take(self, record: RunnerRecord) -> None:
        """Takes over a new record of the same runner."""
        self.record = record
        self.capabilities = frozenset(record.capabilities)
        self.unregistered_since = None

    @property
    def draining(self) -> bool:
        """Whether it takes nothing new; the status stream and etcd may each be the first to say so."""
        return self.says_draining or self.record.state == "draining"

    @property
    def serving(self) -> bool:
        """Whether requests may be placed on it."""
        return self.health is Health.UP and not self.draining and not self.drained

    @property
    def state(self) -> str:
        """The state as operators see it: `ready`, `draining`, `drained`, `ejected` or `unknown`."""
        if self.health is Health.CONNECTING:
            return "unknown"
        if self.health is not Health.UP:
            return "ejected"
        if self.draining:
            return "draining"
        return "drained" if self.drained else "ready"
