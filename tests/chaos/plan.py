"""What a run will do, drawn from its seed before anything starts: the same seed gives the same plan.

Only the plan is reproducible. When a process is ready again, and in which order two packets arrive, is up to the
machine; so a seed repeats the schedule of a failure, not every one of its microseconds.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

# Requests begin at this rate, a second. It keeps two dozen of them in flight, and two small cores busy.
REQUESTS_PER_SECOND = 14.0
PROMPTS = (
    "Tell me about the bridge over the river",
    "How does bread rise in a cold kitchen",
    "Name the parts of an old sailing ship",
    "Why do bees dance before they fly out",
    "Write a short story about a lost key",
    "Explain to a child how the tide works",
)
MOST_TOKENS = 90
# Accounts by number. The last ones own so little that some of their requests must be refused.
CREDITS = (1_000_000, 1_000_000, 1_000_000, 65, 30)
_WEIGHTS = (10, 10, 10, 1, 1)
# What the run does to billing's replies instead of killing anything.
SWALLOW = "swallow"
_SERVICES = ("edge", "auth", "billing", "router", "runner-1", "runner-2", "etcd")


@dataclass(frozen=True, slots=True)
class RequestPlan:
    """One request and its client's manners. Times are in seconds of a mesh at full pace."""

    # After the start of the run.
    at: float
    account: int
    prompt: int
    stream: bool
    # None lets the engine end by itself.
    max_tokens: int | None
    # Asks the engine to stop at its own first word, so that the answer is empty.
    empty: bool = False
    usage: bool = False
    # Leaves so long after sending, whatever has come.
    leave_after: float | None = None
    # Leaves the moment that so many pieces of text have come.
    leave_at_piece: int | None = None
    # Pauses after each piece that is read.
    pause: float = 0.0


@dataclass(frozen=True, slots=True)
class Fault:
    """Something bad: a process is killed and comes back after `seconds`, or replies are swallowed for so long."""

    at: float
    target: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that one run does."""

    seed: int
    requests: tuple[RequestPlan, ...]
    faults: tuple[Fault, ...]
    # By how much everything takes longer: requests, faults, engines and time limits alike. On a busy machine the same
    # faults then still meet the same requests.
    slowness: float = 1.0

    @property
    def kills(self) -> int:
        """How many processes are killed."""
        return sum(fault.target != SWALLOW for fault in self.faults)

    def slowed(self, factor: float) -> Plan:
        """Returns the same plan for a mesh that is slower by a factor, which `World` must be told too."""
        requests = tuple(_slowed(request, factor) for request in self.requests)
        faults = tuple(replace(fault, at=fault.at * factor, seconds=fault.seconds * factor) for fault in self.faults)
        return Plan(self.seed, requests, faults, self.slowness * factor)


def make_plan(seed: int, *, requests: int, kills: int, database_server: bool) -> Plan:
    """Draws a plan; with `database_server` the server of the databases is among those killed."""
    chance = random.Random(seed)
    length = requests / REQUESTS_PER_SECOND
    asked = sorted((_request(chance, length) for _ in range(requests)), key=lambda request: request.at)
    services = (*_SERVICES, "database") if database_server else _SERVICES
    faults = sorted((*_kills(chance, length, kills, services), *_swallowed(chance, length)), key=lambda fault: fault.at)
    return Plan(seed, tuple(asked), tuple(faults))


def _slowed(request: RequestPlan, factor: float) -> RequestPlan:
    leave_after = None if request.leave_after is None else request.leave_after * factor
    return replace(request, at=request.at * factor, leave_after=leave_after, pause=request.pause * factor)


def _request(chance: random.Random, length: float) -> RequestPlan:
    stream = chance.random() < 0.7
    manners = chance.random()
    return RequestPlan(
        at=chance.uniform(0, length),
        account=chance.choices(range(len(CREDITS)), _WEIGHTS)[0],
        prompt=chance.randrange(len(PROMPTS)),
        stream=stream,
        max_tokens=None if chance.random() < 0.2 else chance.randint(1, MOST_TOKENS),
        # An answer without output is free only if the client hears its end, so nobody leaves such a one.
        empty=manners < 0.05,
        usage=chance.random() < 0.5,
        leave_after=chance.uniform(0, 0.2) if 0.5 < manners < 0.6 else
        chance.uniform(0.2, 0.7) if 0.6 < manners < 0.7 else None,
        leave_at_piece=chance.choice((1, 1, 2, 5, 20, 60)) if stream and 0.7 < manners < 0.9 else None,
        pause=chance.uniform(0.005, 0.05) if stream and manners > 0.9 else 0.0,
    )  # fmt: skip


def _kills(chance: random.Random, length: float, count: int, services: tuple[str, ...]) -> list[Fault]:
    """Spreads the kills evenly, so that the mesh is neither left alone for long nor kept down for good."""
    targets = [*chance.sample(services, min(count, len(services)))]
    targets += chance.choices(services, k=count - len(targets))
    step = length / count
    return [
        Fault(step * (number + chance.uniform(0.1, 0.9)), target, chance.uniform(0.05, 0.8))
        for number, target in enumerate(targets)
    ]


def _swallowed(chance: random.Random, length: float) -> list[Fault]:
    """Several short losses of billing's replies, and one that outlasts the edge's patience with a settlement."""
    short = [Fault(chance.uniform(0, length), SWALLOW, chance.uniform(0.1, 0.5)) for _ in range(3)]
    return [*short, Fault(chance.uniform(0, length), SWALLOW, 3.5)]
