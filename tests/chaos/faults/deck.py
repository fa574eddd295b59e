"""Deals the faults of a plan: which ones there are is almost fixed, and chance decides their order, times and victims.

A plan that drew each fault on its own would sometimes take the mesh away for good, and sometimes not hurt it.
"""

from __future__ import annotations

import itertools
import random

from tests.chaos.faults.fault import RUNNERS, Fault, Kind, replicas, role

Card = tuple[Kind, str]

# What happens to runners. A plan takes one after the other, and then only kills: by these, answers are continued
# elsewhere.
_OF_RUNNERS = (Kind.KILL, Kind.FREEZE, Kind.KILL, Kind.KILL, Kind.KILL, Kind.LOSE_REPLIES, Kind.LATE_REPLIES)
# What happens to the others. A plan takes one after the other, and then a sample of all that is left. An edge takes all
# answers with it, and a store that is away all that begin, so that none of these is left to chance.
_OF_OTHERS: tuple[Card, ...] = (
    (Kind.KILL, "edge-1"),
    (Kind.FREEZE, "billing-1"),
    (Kind.LOSE_REPLIES, "billing"),
    (Kind.FREEZE, "router-1"),
    (Kind.DRAIN, "edge-1"),
    (Kind.KILL, "billing-1"),
)
_OF_STORES: dict[bool, Card] = {False: (Kind.FULL, "billing-1"), True: (Kind.KILL, "database")}
_WIRES = (Kind.LOSE_CALLS, Kind.LOSE_REPLIES, Kind.LATE_CALLS, Kind.LATE_REPLIES, Kind.DELAY)
# What happens to servers with OpenAI's API and the runners in front of them. A plan takes one after the other.
_OF_UPSTREAMS: tuple[Card, ...] = (
    (Kind.FREEZE, "upstream-1"),
    (Kind.KILL, "upstream-2"),
    (Kind.LOSE_REPLIES, "upstream-1"),
    (Kind.KILL, "upstream-1"),
    (Kind.KILL, "runner-5"),
    (Kind.FREEZE, "upstream-2"),
    (Kind.KILL, "runner-4"),
    (Kind.DELAY, "upstream-2"),
)
# The callers of each wait for less than so many seconds at full pace: a call, a settlement, a route, a sign of
# progress, the lease of a runner.
_PATIENCE = {
    "edge": 1.5,
    "auth": 2.2,
    "billing": 2.7,
    "router": 2.2,
    "runner": 3.4,
    "upstream": 3.4,
    "etcd": 5.5,
    "database": 2.2,
}
# What these lose is never asked again in time.
_BRIEF = {"runner", "upstream"}
# So much longer, at most, does a fault last that outlasts them.
_LONGER = 1.15
# How long a run has no fault yet.
_CALM_SECONDS = 1.0
# The fewest and the most seconds of what does not have to outlast anybody.
_SHORT = (0.05, 0.8)
_FULL_SECONDS = (1.0, 2.0)


def deal_faults(chance: random.Random, length: float, count: int, *, database_server: bool) -> list[Fault]:
    """Spreads the faults evenly over `length` seconds. Every other one is for a runner."""
    hits = _kinds_of_runners(chance, count - count // 2)
    # One runner after the other: a mesh without any runner shows nothing.
    turns = itertools.cycle(chance.sample(RUNNERS, len(RUNNERS)))
    of_runners = [(kind, next(turns)) for kind in hits]
    of_others = _cards_of_others(chance, count // 2, database_server=database_server)
    dealt = [card for pair in itertools.zip_longest(of_runners, of_others) for card in pair if card is not None]
    step = (length - _CALM_SECONDS) / count
    return [
        Fault(_CALM_SECONDS + step * (number + chance.uniform(0.2, 0.8)), target, _seconds(chance, kind, target), kind)
        for number, (kind, target) in enumerate(dealt)
    ]


def deal_payments_faults(chance: random.Random, length: float) -> list[Fault]:
    """Returns what happens to the two processes that watch a chain; billing has faults of its own.

    No request needs them, so these faults come on top of the others.
    """
    cards = [(Kind.KILL, "payments-1"), (Kind.KILL, "payments-2")]
    cards += [(chance.choice((Kind.KILL, Kind.DRAIN, Kind.FREEZE)), f"payments-{chance.randint(1, 2)}")]
    chance.shuffle(cards)
    step = length / len(cards)
    return [
        Fault(step * (number + chance.uniform(0.2, 0.8)), target, chance.uniform(*_SHORT), kind)
        for number, (kind, target) in enumerate(cards)
    ]


def deal_upstream_faults(chance: random.Random, length: float, count: int) -> list[Fault]:
    """Spreads faults of the servers with OpenAI's API, and of their runners, evenly over `length` seconds."""
    step = (length - _CALM_SECONDS) / count
    return [
        Fault(_CALM_SECONDS + step * (number + chance.uniform(0.2, 0.8)), target, _seconds(chance, kind, target), kind)
        for number, (kind, target) in enumerate(itertools.islice(itertools.cycle(_OF_UPSTREAMS), count))
    ]


def _kinds_of_runners(chance: random.Random, count: int) -> list[Kind]:
    kinds = [*_OF_RUNNERS, *[Kind.KILL] * count][:count]
    # A runner that stalls is out for some time. They are far apart, so that never two of them are.
    stalls = [kind for kind in kinds if kind in {Kind.FREEZE, Kind.LATE_REPLIES}]
    others = [kind for kind in kinds if kind not in stalls]
    chance.shuffle(others)
    chance.shuffle(stalls)
    for number, kind in enumerate(stalls):
        share = (number + chance.uniform(0.2, 0.6)) / len(stalls)
        others.insert(int(share * len(others)) + number, kind)
    return others


def _cards_of_others(chance: random.Random, count: int, *, database_server: bool) -> list[Card]:
    always = [*_OF_OTHERS, _OF_STORES[database_server]]
    further = [card for card in _further(database_server=database_server) if card not in always]
    first = always[:count]
    left = count - len(first)
    drawn = [*first, *chance.sample(further, min(left, len(further)))]
    drawn += chance.choices(further, k=count - len(drawn))
    chance.shuffle(drawn)
    died = (Kind.KILL, "edge-1")
    if died in drawn:
        # What it took with it expires while the run goes on.
        drawn.remove(died)
        drawn.insert(chance.randrange(count // 2 + 1), died)
    return drawn


def _further(*, database_server: bool) -> list[Card]:
    """Returns what else can happen; each at most once in a plan that has not room for all of it."""
    of_roles = (replicas(name, database_server=database_server) for name in ("auth", "billing", "router"))
    services = [process for processes in of_roles for process in processes]
    cards = [(kind, process) for process in [*services, "etcd"] for kind in (Kind.KILL, Kind.DRAIN, Kind.FREEZE)]
    cards += [(kind, name) for name in ("auth", "billing", "router", "etcd") for kind in _WIRES]
    cards += [(kind, runner) for runner in RUNNERS for kind in (Kind.DRAIN, Kind.LOSE_CALLS, Kind.DELAY)]
    cards += [(Kind.FREEZE, "edge-1"), (Kind.FULL, "etcd")]
    if database_server:
        # A PostgreSQL that cannot write its log crashes, so that killing it shows the same.
        cards += [(Kind.KILL, "database"), (Kind.FREEZE, "database")]
    else:
        cards += [(Kind.FULL, "auth-1"), (Kind.FULL, "billing-1")]
    return cards


def _seconds(chance: random.Random, kind: Kind, target: str) -> float:
    match kind:
        case Kind.FREEZE | Kind.LATE_CALLS | Kind.LATE_REPLIES:
            return _PATIENCE[role(target)] * chance.uniform(1.0, _LONGER)
        case Kind.LOSE_CALLS | Kind.LOSE_REPLIES if chance.random() < 0.3 and role(target) not in _BRIEF:
            # Most losses are short: what was asked is asked again.
            return _PATIENCE[role(target)] * chance.uniform(1.0, _LONGER)
        case Kind.FULL:
            return chance.uniform(*_FULL_SECONDS)
        case _:
            return chance.uniform(*_SHORT)
