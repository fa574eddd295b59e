"""What a run will do, drawn from its seed before anything starts: the same seed gives the same plan.

Only the plan is reproducible. When a process is ready again, and in which order two packets arrive, is up to the
machine; so a seed repeats the schedule of a failure, not every one of its microseconds.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from tests.chaos.faults.deck import deal_faults, deal_payments_faults, deal_upstream_faults
from tests.chaos.faults.fault import Fault

# Requests begin at this rate, a second. It keeps two dozen of them in flight, and two small cores busy.
REQUESTS_PER_SECOND = 13.0
_DEPOSITS_PER_SECOND = 1.5
PROMPTS = (
    "Tell me about the bridge over the river",
    "How does bread rise in a cold kitchen",
    "Name the parts of an old sailing ship",
    "Why do bees dance before they fly out",
    "Write a short story about a lost key",
    "Explain to a child how the tide works",
)
MOST_TOKENS = 90
UPSTREAM_MODEL = "tiermesh-upstream"
# Accounts by number. The last ones own so little that some of their requests must be refused.
CREDITS = (1_000_000, 1_000_000, 1_000_000, 65, 30)
_WEIGHTS = (10, 10, 10, 1, 1)
# How long billing keeps a hold whose edge has not ended it, in seconds at full pace: longer than any request takes.
HOLD_SECONDS = 14.0
# A run shows something only if so many answers, as a share of those whose clients wait and can pay, are completed, and
# if so many are continued by another runner. In a short one each fault meets a larger share of the requests.
FULL_REQUESTS, FULL_FAULTS = 800, 30
_FULL_COMPLETED, _FULL_RESUMED = 0.6, 50
_SHORT_COMPLETED = 0.4
# Where there is a tier of servers with OpenAI's API: its share of the requests, how many faults are added for it as a
# share of the others, and how much less is completed, because none of its answers is continued.
_UPSTREAM_REQUESTS, _UPSTREAM_FAULTS, _UPSTREAM_LOSS = 0.4, 0.3, 0.1


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
    # Pauses after each piece that is read. Such a client has a small buffer, and asks for so much with each token that
    # the edge has to wait for it.
    pause: float = 0.0
    # Asks for the model of the tier whose runners stand before servers with OpenAI's API.
    upstream: bool = False


@dataclass(frozen=True, slots=True)
class DepositPlan:
    """One transaction on the chain beside the mesh."""

    # After the start of the run.
    at: float
    account: int
    # In smallest units: a cent is 10,000.
    atomic: int
    # How often the transaction sends it.
    times: int = 1


@dataclass(frozen=True, slots=True)
class Floor:
    """What a run must reach, or else it proves nothing."""

    # Of the answers whose clients wait for their end and can pay, the share that is completed.
    completed: float = 0.0
    # Generations that are continued by another runner after their first token.
    resumed: int = 0

    def is_reached(self, completed: float, resumed: int) -> bool:
        """Tells whether a run was worth something."""
        return completed >= self.completed and resumed >= self.resumed


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that one run does."""

    seed: int
    requests: tuple[RequestPlan, ...]
    faults: tuple[Fault, ...]
    # By how much everything takes longer: requests, faults, engines and time limits alike. On a busy machine the same
    # faults then still meet the same requests.
    slowness: float = 1.0
    floor: Floor = Floor()
    # How long billing keeps a hold whose edge has not ended it, in seconds at full pace.
    hold_seconds: float = HOLD_SECONDS
    # Without any, there is no chain.
    deposits: tuple[DepositPlan, ...] = ()
    # Whether the mesh has a tier whose runners stand before servers with OpenAI's API.
    upstream: bool = False

    def slowed(self, factor: float) -> Plan:
        """Returns the same plan for a mesh that is slower by a factor."""
        requests = tuple(_slowed(request, factor) for request in self.requests)
        faults = tuple(replace(fault, at=fault.at * factor, seconds=fault.seconds * factor) for fault in self.faults)
        deposits = tuple(replace(deposit, at=deposit.at * factor) for deposit in self.deposits)
        return replace(self, requests=requests, faults=faults, deposits=deposits, slowness=self.slowness * factor)


def make_plan(seed: int, *, requests: int, faults: int, database_server: bool) -> Plan:
    """Draws a plan; with `database_server` auth and billing have replicas, and a server that suffers too."""
    chance = random.Random(seed)
    length = requests / REQUESTS_PER_SECOND
    asked = sorted((_request(chance, length) for _ in range(requests)), key=lambda request: request.at)
    dealt = deal_faults(chance, length, faults, database_server=database_server)
    return Plan(seed, tuple(asked), tuple(dealt), floor=_floor(requests))


def with_deposits(plan: Plan) -> Plan:
    """Returns the same plan with a chain: accounts deposit during the run, and what watches the chain suffers, too."""
    # What the plan is without a chain depends on its seed alone, so this is drawn apart.
    chance = random.Random(f"deposits {plan.seed}")
    length = max(request.at for request in plan.requests)
    times = sorted(chance.uniform(0, length) for _ in range(max(6, int(length * _DEPOSITS_PER_SECOND))))
    deposits = [
        # Some are less than a credit, and some transactions pay twice.
        DepositPlan(at, chance.randrange(len(CREDITS)), chance.choice((4_321, 10_000, 123_456)), chance.choice((1, 2)))
        for at in times
    ]
    return replace(plan, deposits=tuple(deposits), faults=(*plan.faults, *deal_payments_faults(chance, length)))


def with_upstream(plan: Plan) -> Plan:
    """Returns a plan in which a part of the requests go to servers with OpenAI's API, which suffer too."""
    chance = random.Random(f"{plan.seed} upstream")
    requests = tuple(replace(each, upstream=chance.random() < _UPSTREAM_REQUESTS) for each in plan.requests)
    length = len(plan.requests) / REQUESTS_PER_SECOND
    added = deal_upstream_faults(chance, length, max(2, round(len(plan.faults) * _UPSTREAM_FAULTS)))
    faults = tuple(sorted([*plan.faults, *added], key=lambda fault: fault.at))
    floor = Floor(plan.floor.completed - _UPSTREAM_LOSS, int(plan.floor.resumed * (1 - _UPSTREAM_REQUESTS)))
    return replace(plan, requests=requests, faults=faults, floor=floor, upstream=True)


def _floor(requests: int) -> Floor:
    if requests >= FULL_REQUESTS:
        return Floor(_FULL_COMPLETED, _FULL_RESUMED)
    return Floor(_SHORT_COMPLETED, _FULL_RESUMED * requests // FULL_REQUESTS)


def _slowed(request: RequestPlan, factor: float) -> RequestPlan:
    leave_after = None if request.leave_after is None else request.leave_after * factor
    return replace(request, at=request.at * factor, leave_after=leave_after, pause=request.pause * factor)


def _request(chance: random.Random, length: float) -> RequestPlan:
    stream = chance.random() < 0.8
    manners = chance.random()
    return RequestPlan(
        at=chance.uniform(0, length),
        account=chance.choices(range(len(CREDITS)), _WEIGHTS)[0],
        prompt=chance.randrange(len(PROMPTS)),
        stream=stream,
        # Long answers are more likely to be in progress when a runner fails.
        max_tokens=None if chance.random() < 0.2 else chance.randint(chance.choice((1, MOST_TOKENS // 2)), MOST_TOKENS),
        # An answer without output is free only if the client hears its end, so nobody leaves such a one.
        empty=manners < 0.05,
        usage=chance.random() < 0.5,
        leave_after=chance.uniform(0, 0.2) if 0.6 < manners < 0.66 else
        chance.uniform(0.2, 0.7) if 0.66 < manners < 0.75 else None,
        leave_at_piece=chance.choice((1, 1, 2, 5, 20, 60)) if stream and 0.75 < manners < 0.9 else None,
        pause=chance.uniform(0.1, 0.22) if stream and manners > 0.9 else 0.0,
    )  # fmt: skip
