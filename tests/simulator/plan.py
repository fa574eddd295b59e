"""What one run does, drawn from its seed: requests, their clients' manners, and faults."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tests.chaos.plan import RequestPlan

PROMPTS = ("Tell me about the bridge", "How does bread rise in a cold kitchen", "Why do bees dance")
# Tokens of ordinary answers and of long ones, at most. A drain and a time limit meet long ones before they end.
MOST_TOKENS, LONGEST = 16, 48
# The part of the plans with long answers, and how many of them there are at most: so few that others find free slots.
_LONG, _MOST_LONG = 0.4, 2
PRICE = 10
# Accounts by number; the last one cannot pay for all that it asks.
CREDITS = (1_000_000, 1_000_000, 25)
SERVICES = ("edge", "auth", "billing-1", "billing-2", "router-1", "router-2", "runner-1", "runner-2")
# The part of the plans in which several things that matter to money are out of reach for long, and at once.
_STORM = 0.25
# The part of those in which it is all of billing, until holds have expired.
_OUTAGE = 0.6
# Pairs of processes that talk to each other.
LINKS = tuple(
    [("edge", service) for service in SERVICES[1:]]
    + [("clients", "edge")]
    + [(router, runner) for router in ("router-1", "router-2") for runner in ("runner-1", "runner-2")]
)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something bad. `kind` is one of KINDS; `target` and `other` are processes."""

    at: float
    kind: str
    target: str
    seconds: float
    other: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a run does, beside the network's delays, which the same seed decides."""

    seed: int
    requests: tuple[RequestPlan, ...]
    faults: tuple[Fault, ...]


def make_plan(seed: int) -> Plan:
    """Draws a plan."""
    chance = random.Random(seed)
    length = chance.uniform(0.5, 4.0)
    # Most races need several requests that come together, and a fault that meets them.
    bursts = [chance.uniform(0, length) for _ in range(chance.randint(1, 3))]

    def moment(most: float, spread: float) -> float:
        return max(
            0.0,
            chance.choice(bursts) + chance.uniform(-spread, spread)
            if chance.random() < 0.6
            else chance.uniform(0, most),
        )

    long = chance.randint(1, _MOST_LONG) if chance.random() < _LONG else 0
    requests = [
        _request(chance, moment(length, 0.005), LONGEST if number < long else MOST_TOKENS)
        for number in range(chance.randint(2, 8))
    ]
    faults = [_fault(chance, moment(length + 1.0, 0.1)) for _ in range(chance.choice((0, 1, 1, 2, 2, 3, 3, 4)))]
    if chance.random() < _STORM:
        begins = [chance.choice(bursts) + chance.uniform(0, 2) for _ in range(chance.randint(2, 3))]
        faults = [_long_fault(chance, at) for at in begins]
        if chance.random() < _OUTAGE:
            faults = _outage(chance, chance.choice(bursts) + chance.uniform(0, 1))
    requests.sort(key=lambda each: each.at)
    faults.sort(key=lambda each: each.at)
    return Plan(seed, tuple(requests), tuple(faults))


def _request(chance: random.Random, at: float, most_tokens: int) -> RequestPlan:
    stream, manners = chance.random() < 0.6, chance.random()
    return RequestPlan(
        at=at,
        account=chance.choices(range(len(CREDITS)), (10, 10, 2))[0],
        prompt=chance.randrange(len(PROMPTS)),
        stream=stream,
        max_tokens=chance.randint(1, most_tokens),
        empty=manners < 0.05,
        leave_after=chance.uniform(0.0, 0.3) if 0.4 < manners < 0.55
        else chance.uniform(0.3, 1.2) if 0.55 < manners < 0.65 else None,
        leave_at_piece=chance.choice((1, 2, 5)) if stream and 0.65 < manners < 0.8 else None,
        pause=chance.uniform(0.01, 0.1) if stream and manners > 0.92 else 0.0,
    )  # fmt: skip


def _long_fault(chance: random.Random, at: float) -> Fault:
    """One of what lets calls about money wait until nobody waits for them any more."""
    kind, target, other = chance.choice(
        [("stop", name, "") for name in ("edge", "billing-1", "billing-2")]
        + [("hold", "edge", name) for name in ("billing-1", "billing-2")]
        + [("hold", name, "edge") for name in ("billing-1", "billing-2")]
    )
    return Fault(at, kind, target, chance.uniform(2, 15), other)


def _outage(chance: random.Random, at: float) -> list[Fault]:
    """No edge reaches billing until holds have expired; what it has sent arrives at one replica before the other."""
    first, second = chance.sample(("billing-1", "billing-2"), 2)
    # The first one goes on, so that it sees holds expire.
    until = chance.uniform(9, 11)
    kind, target, other = chance.choice((("stop", second, ""), ("hold", "edge", second)))
    return [
        Fault(at, "hold", "edge", until, first),
        Fault(at + chance.uniform(0, 0.3), kind, target, until + chance.uniform(0, 4), other),
    ]


def _fault(chance: random.Random, at: float) -> Fault:
    kind = chance.choices(
        ("kill", "stop", "hold", "slow", "cut", "drain", "database away", "database crash", "database slow", "clock"),
        (4, 6, 5, 3, 2, 5, 1, 2, 3, 1),
    )[0]
    target, other, seconds = "", "", chance.choice((0.1, 0.5, 1.5, 3.0, 8.0, 15.0)) * chance.uniform(0.5, 1.5)
    if kind in {"kill", "stop"}:
        target = chance.choice(SERVICES)
    elif kind == "database slow":
        target = chance.choice(("billing-1", "billing-2"))
    elif kind == "drain":
        target = chance.choices(SERVICES, (9, 1, 1, 1, 1, 1, 2, 2))[0]
    elif kind in {"hold", "slow", "cut"}:
        target, other = chance.choice(LINKS)
        if chance.random() < 0.5:
            target, other = other, target
    if kind == "kill":
        seconds = min(seconds, 3.0)
    return Fault(at, kind, target, seconds, other)
