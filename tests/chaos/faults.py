"""What can go wrong in a run, how often a plan draws it, and what had gone wrong when a request was in progress."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Sequence
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
# Every plan that has room for them has these, each of which an audit found to be worth a test of its own.
_ALWAYS = ((Kind.DRAIN, "edge-1"), (Kind.FREEZE, "billing-1"), (Kind.FREEZE, RUNNERS[0]))
_WIRE_KINDS = tuple(kind for kind in Kind if kind not in PROCESS_KINDS)
# The callers of each wait for less than so many seconds at full pace: a call, a settlement, a route, a sign of
# progress, the lease of a runner.
_PATIENCE = {"edge": 1.5, "auth": 2.5, "billing": 3.0, "router": 2.5, "runner": 5.5, "etcd": 5.5, "database": 2.5}
# The fewest and the most seconds of what does not have to outlast anybody.
_SHORT = (0.05, 0.8)
_FULL_SECONDS = (1.0, 2.0)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something bad for `seconds`: a process is away, stands still or cannot write, or a wire is bad.

    The target is a process or, of wires, also a role, whose wires are then all bad.
    """

    at: float
    target: str
    seconds: float
    kind: Kind = Kind.KILL


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


def draw_faults(chance: random.Random, length: float, count: int, *, database_server: bool) -> list[Fault]:
    """Spreads the faults evenly, so that the mesh is neither left alone for long nor kept down for good.

    Half of them are for runners, so that many answers have to be continued elsewhere.
    """
    others = _others(database_server=database_server)
    drawn = [*_ALWAYS, *(_pair(chance, _of_runners()) for _ in range(count // 2))][:count]
    drawn += [*chance.sample(others, min(count - len(drawn), len(others)))]
    drawn += [_pair(chance, others) for _ in range(count - len(drawn))]
    chance.shuffle(drawn)
    # One runner after the other: a mesh without any runner shows nothing.
    turns = itertools.cycle(chance.sample(RUNNERS, len(RUNNERS)))
    drawn = [(kind, next(turns) if role(target) == "runner" else target) for kind, target in drawn]
    step = length / count
    return [
        Fault(step * (number + chance.uniform(0.1, 0.9)), target, _seconds(chance, kind, target), kind)
        for number, (kind, target) in enumerate(drawn)
    ]


def _pair(chance: random.Random, pairs: Sequence[tuple[Kind, str]]) -> tuple[Kind, str]:
    return chance.choice(pairs)


def _of_runners() -> list[tuple[Kind, str]]:
    # Of a drain or a short delay, no answer has to be continued.
    kinds = (*[Kind.KILL] * 8, Kind.FREEZE, Kind.LOSE_CALLS, Kind.LOSE_REPLIES, Kind.LATE_REPLIES)
    return [(kind, runner) for kind in kinds for runner in RUNNERS]


def _others(*, database_server: bool) -> list[tuple[Kind, str]]:
    of_roles = (replicas(name, database_server=database_server) for name in ("edge", "auth", "billing", "router"))
    services = [process for processes in of_roles for process in processes]
    pairs = [(kind, process) for process in [*services, "etcd"] for kind in (Kind.KILL, Kind.DRAIN, Kind.FREEZE)]
    pairs += [(Kind.DRAIN, runner) for runner in RUNNERS]
    pairs += [(kind, name) for name in ("auth", "billing", "router", "etcd") for kind in _WIRE_KINDS]
    pairs += [(kind, runner) for runner in RUNNERS for kind in (Kind.LATE_CALLS, Kind.DELAY)]
    pairs.append((Kind.FULL, "etcd"))
    if database_server:
        # A PostgreSQL that cannot write its log crashes, so that killing it shows the same.
        return [*pairs, (Kind.KILL, "database"), (Kind.FREEZE, "database")]
    return [*pairs, (Kind.FULL, "auth-1"), (Kind.FULL, "billing-1")]


def _seconds(chance: random.Random, kind: Kind, target: str) -> float:
    match kind:
        case Kind.FREEZE | Kind.LATE_CALLS | Kind.LATE_REPLIES | Kind.LOSE_CALLS | Kind.LOSE_REPLIES:
            if kind in {Kind.LOSE_CALLS, Kind.LOSE_REPLIES} and chance.random() < 0.7:
                # Most losses are short: what was asked is asked again.
                return chance.uniform(*_SHORT)
            return _PATIENCE[role(target)] * chance.uniform(1.0, 1.2)
        case Kind.FULL:
            return chance.uniform(*_FULL_SECONDS)
        case _:
            return chance.uniform(*_SHORT)


def overlapping(
    hits: Iterable[Hit], since: float, until: float, *, roles: Iterable[str], kinds: Iterable[Kind] = tuple(Kind)
) -> list[Hit]:
    """Returns the faults of these roles and kinds between two times."""
    roles, kinds = frozenset(roles), frozenset(kinds)
    return [hit for hit in hits if role(hit.target) in roles and hit.kind in kinds and hit.overlaps(since, until)]
