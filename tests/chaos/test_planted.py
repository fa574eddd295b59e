"""The checker catches the mistakes that it exists for."""

from __future__ import annotations

from dataclasses import replace

from tests.chaos.driver import Report, run_plan
from tests.chaos.plan import SWALLOW, Fault, Plan, make_plan
from tests.chaos.record import End


def _plan(*faults: Fault) -> Plan:
    """A short run with only these faults."""
    return replace(make_plan(5, requests=60, kills=7, database_server=False), faults=faults)


def _caught(report: Report) -> set[str]:
    return {violation.kind for violation in report.violations}


async def test_settling_after_the_end_is_caught() -> None:
    # What billing has not heard of when the edge dies is lost, although the client has the whole answer.
    plan = _plan(Fault(2.0, "billing", 0.5), Fault(2.6, "edge", 0.1))
    report = await run_plan(plan, modules={"edge": "tests.chaos.planted.late_settle"})
    # Seen at once, by a look at the ledger when the end comes, and afterwards by the charges that are missing.
    assert {"charge at the end", "wrong charge"} <= _caught(report), str(report)


async def test_charging_twice_is_caught() -> None:
    # The charges are made, their replies are lost, and the edge asks again.
    plan = _plan(Fault(1.0, SWALLOW, 0.3), Fault(2.5, SWALLOW, 0.3))
    report = await run_plan(plan, modules={"billing": "tests.chaos.planted.double_settle"})
    # The ledger's own audit sees it as well.
    assert {"wrong charge", "audit"} <= _caught(report), str(report)


async def test_without_a_mistake_the_same_runs_pass() -> None:
    faults = (Fault(1.0, SWALLOW, 0.3), Fault(2.0, "billing", 0.5), Fault(2.6, "edge", 0.1))
    report = await run_plan(_plan(*faults))
    assert not report.violations, str(report)


async def test_a_charge_that_nobody_heard_of_is_taken_back() -> None:
    # Longer than the edge waits for a settlement: the charges are made, and their clients get an error.
    report = await run_plan(_plan(Fault(1.0, SWALLOW, 4.5)))
    assert report.ends[End.ERROR_FRAME] > 0
    assert not report.violations, str(report)
