"""The kinds of faults, their targets, and what had gone wrong when a request was in progress."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a fault does."""

    # A process ends by SIGKILL, and comes back.
    KILL = "kill"
    # A process ends by SIGTERM, in its own time, and comes back: a rolling restart.
    DRAIN = "drain"
    # A process stands still, by SIGSTOP, for longer than its callers wait. Its connections stay.
    FREEZE = "freeze"
    # A store takes no more data: etcd raises its alarm NOSPACE, and a service on SQLite can write to no file.
    FULL = "full"
    # What one side of a connection says is lost, until the connection breaks.
    LOSE_CALLS = "lose calls"
    LOSE_REPLIES = "lose replies"
    # What one side of a connection says stands still and arrives late. The connection stays.
    LATE_CALLS = "late calls"
    LATE_REPLIES = "late replies"
    # Every packet takes longer, in both directions.
    DELAY = "delay"


PROCESS_KINDS = frozenset({Kind.KILL, Kind.DRAIN, Kind.FREEZE, Kind.FULL})
RUNNERS = ("runner-1", "runner-2", "runner-3")
# Where the world has a tier of servers with OpenAI's API: each of them, and the runner in front of it.
UPSTREAMS = {"upstream-1": "runner-4", "upstream-2": "runner-5"}
# By these a runner takes calls and makes no progress with them.
_STALLS = frozenset({Kind.FREEZE, Kind.LATE_CALLS, Kind.LATE_REPLIES})


@dataclass(frozen=True, slots=True)
class Fault:
    """Something bad for `seconds`: a process is away, stands still or cannot write, or a wire is bad.

    The target is a process or, of wires, also a role, whose wires are then all bad.
    """

    at: float
    target: str
    seconds: float
    kind: Kind = Kind.KILL

    @property
    def stalled_runner(self) -> str:
        """The runner that routers keep out because of it, for minutes or until it is started again; empty if none."""
        if self.kind not in _STALLS:
            return ""
        return self.target if role(self.target) == "runner" else UPSTREAMS.get(self.target, "")


@dataclass(slots=True)
class Hit:
    """A fault as it happened; times are in seconds since the Unix epoch."""

    target: str
    # When it began, and when the process was certainly dead: in between it may still have taken calls.
    began: float
    dead: float = float("inf")
    # When all was well again.
    ended: float = float("inf")
    kind: Kind = Kind.KILL

    def overlaps(self, since: float, until: float) -> bool:
        """Whether it happened between two times."""
        return self.ended >= since and self.began <= until


def role(target: str) -> str:
    """Returns what a process is, without its number."""
    return target.partition("-")[0]


def replicas(name: str, *, database_server: bool) -> tuple[str, ...]:
    """Returns the processes of a service; SQLite supports one of those that write to it."""
    count = 1 if name == "edge" or (name in {"auth", "billing"} and not database_server) else 2
    return tuple(f"{name}-{number}" for number in range(1, count + 1))


def overlapping(
    hits: Iterable[Hit], since: float, until: float, *, roles: Iterable[str], kinds: Iterable[Kind] = tuple(Kind)
) -> list[Hit]:
    """Returns the faults of these roles and kinds between two times."""
    roles, kinds = frozenset(roles), frozenset(kinds)
    return [hit for hit in hits if role(hit.target) in roles and hit.kind in kinds and hit.overlaps(since, until)]
