"""Prints the CPU time of one placement with 50 and with 1,000 runners: `python -m bench.placement`.

It prints that of the hashes for it too.
"""

from __future__ import annotations

import itertools
import random
import time
import timeit
from collections.abc import Callable

from bench.machine import header
from services.common.catalog import load_catalog
from services.common.errors import MeshError
from services.common.registry import RunnerRecord
from services.common.settings import DEFAULT_CATALOG
from services.common.telemetry.logs import configure_logs
from services.edge.paid.prefix_hashes import prefix_hashes
from services.router.pauses import Pauses
from services.router.placement import Needs, Placement
from services.router.routing import Limits, Routing
from services.router.runners.live_runner import LiveRunner
from services.router.runners.load import Report
from services.router.runners.table import Table
from tiermesh.runner.v1 import runner_pb2

ROUNDS = 50_000
MODEL = "tiermesh-pro"
CONVERSATIONS = 500
# So many that a run never fills them.
SLOTS = 10**6


class NoStreams:
    """Leaves the statuses to the benchmark."""

    def open(self, runner: LiveRunner, delay: float) -> None:
        pass

    def close(self, runner: LiveRunner) -> None:
        pass


def main() -> None:
    configure_logs("bench", format="console", level="error")
    print(header())
    for count in (50, 1_000):
        print(f"{count:,} runners")
        show_placements(count)
    for messages in (4, 16):
        show_hashes(f"hashes of {messages} messages", messages)


def show_placements(count: int) -> None:
    table = Table(NoStreams(), time.monotonic, most_slots=SLOTS)
    placement = Placement(table, time.monotonic, random.Random(1).random)
    routing = Routing(load_catalog(DEFAULT_CATALOG), table, placement, Limits(), time.monotonic, Pauses(time.monotonic))
    table.replace(record(number) for number in range(count))
    fill(table, full=0)
    show("all have room", routing, Needs(MODEL))
    failed = Needs(MODEL, excluded=frozenset({"r3"}))
    show("one failed this request", routing, failed)
    for messages in (4, 16):
        show_warm(f"turn of {messages} messages", routing, messages)
    few = max(2, count // 100)
    fill(table, full=count - few)
    show(f"all but {few} are full", routing, Needs(MODEL))
    fill(table, full=count - 1)
    other = Needs(MODEL, excluded=frozenset({f"r{count - 1}"}))
    report("only the failed one has room", lambda: placement.choose(other), ROUNDS // 10)
    fill(table, full=count)
    report("all are full", lambda: placement.choose(Needs(MODEL)), ROUNDS // 10)
    runners = itertools.cycle(table.all())
    report("a status of a full one", lambda: tell(table, next(runners), full=True))
    report("a status of one with room", lambda: tell(table, next(runners), full=False))


def record(number: int) -> RunnerRecord:
    return RunnerRecord(
        id=f"r{number}", address="", tier="pro", models=[MODEL], context=4096, slots=SLOTS, engine="bench", version="0"
    )


def fill(table: Table, *, full: int) -> None:
    for number, runner in enumerate(table.all()):
        tell(table, runner, full=number < full, active=number % 7 + 1)


def tell(table: Table, runner: LiveRunner, *, full: bool, active: int = 1) -> None:
    table.report(runner, Report(slots=1 if full else SLOTS, active=active, admitted=10 * SLOTS))


def show(what: str, routing: Routing, needs: Needs) -> None:
    report(what, lambda: routing.route(needs, "account", 1.0, unexpected))


def unexpected(outcome: LiveRunner | MeshError) -> None:
    if isinstance(outcome, MeshError):
        raise outcome


def show_warm(what: str, routing: Routing, messages: int) -> None:
    """Places next turns, which have two messages more than what was placed before."""
    conversations = itertools.cycle(random.Random(number).getrandbits(60) for number in range(CONVERSATIONS))
    needs, turns = Needs(MODEL), itertools.count()

    def place() -> None:
        first = next(conversations) + next(turns) // CONVERSATIONS * 2
        hashes = tuple(range(first, first + messages))
        routing.route(needs, "account", 1.0, unexpected, prefix_hashes=hashes)

    report(what, place)


def show_hashes(what: str, messages: int) -> None:
    """Hashes messages of 400 characters."""
    message = runner_pb2.Message(role="user", content="twenty characters it" * 20)
    call = runner_pb2.GenerateCall(model=MODEL, messages=[message] * messages)
    report(what, lambda: prefix_hashes("acct_0123456789abcdef", call))


def report(what: str, work: Callable[[], object], rounds: int = ROUNDS) -> None:
    seconds = timeit.timeit(work, timer=time.process_time, number=rounds)
    print(f"{what:<28} {seconds / rounds * 1e6:5.1f} µs")


if __name__ == "__main__":
    main()
