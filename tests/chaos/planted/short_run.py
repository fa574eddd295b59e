"""Short runs with chosen faults, each of which shows one mistake."""

from __future__ import annotations

from dataclasses import replace

from tests.chaos.driver import Report
from tests.chaos.faults.fault import Fault
from tests.chaos.plan import MOST_TOKENS, Floor, Plan, RequestPlan, make_plan

# No request takes long, so that what an edge leaves behind is not waited for as long as in a full run.
_HOLD_SECONDS = 9.0


def short_plan(*faults: Fault, requests: int = 60) -> Plan:
    """A short run with only these faults."""
    drawn = make_plan(5, requests=requests, faults=7, database_server=False)
    return replace(drawn, faults=faults, floor=Floor(), hold_seconds=_HOLD_SECONDS)


def long_answers(count: int, *, pause: float = 0.0) -> tuple[RequestPlan, ...]:
    """Some of the longest streams, ten of which begin each second."""
    longest = RequestPlan(at=0.0, account=0, prompt=0, stream=True, max_tokens=MOST_TOKENS, pause=pause)
    return tuple(replace(longest, at=number / 10) for number in range(count))


def caught(report: Report) -> set[str]:
    """Returns the kinds of all violations."""
    return {violation.kind for violation in report.violations}
