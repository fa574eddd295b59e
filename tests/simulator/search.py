"""Runs one seed after the other."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext

from tests.chaos.plan import RequestPlan
from tests.chaos.record import End
from tests.simulator.machine.database import LedgerFile
from tests.simulator.plan import LONGEST, PROMPTS, Plan, make_plan
from tests.simulator.world import Report, Run

# A mistake that is in the services while it is entered.
Mistake = Callable[[], AbstractContextManager[None]]


def new_seed() -> int:
    """Draws a first seed; a search takes those behind it."""
    return random.SystemRandom().randrange(10**9)


def until(moment: float, first: int, step: int = 1) -> Iterator[int]:
    """Yields seeds until a moment of the monotonic clock."""
    for seed in itertools.count(first, step):
        if time.monotonic() >= moment:
            return
        yield seed


def longest_answers(ledger: LedgerFile) -> list[str]:
    """Learns what the engine says to each prompt while nothing is wrong."""
    requests = tuple(RequestPlan(1.0 * at, 0, at, stream=False, max_tokens=LONGEST) for at in range(len(PROMPTS)))
    report = Run(Plan(0, requests, ()), ledger, ["word"] * len(PROMPTS)).report()
    assert all(record.end is End.COMPLETE for record in report.records), report
    return [record.text for record in report.records]


def search(seeds: Iterable[int], mistake: Mistake = nullcontext) -> Iterator[Report]:
    """Runs one seed after the other, on services with a mistake planted in them or without."""
    ledger = LedgerFile()
    try:
        answers = longest_answers(ledger)
        with mistake():
            for seed in seeds:
                yield Run(make_plan(seed), ledger, answers).report()
    finally:
        ledger.close()
