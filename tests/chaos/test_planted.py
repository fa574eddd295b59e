"""The checker catches the mistakes that it exists for."""

from __future__ import annotations

from dataclasses import replace

from tests.chaos.driver import Report, run_plan
from tests.chaos.faults import Fault, Kind
from tests.chaos.plan import MOST_TOKENS, Floor, Plan, RequestPlan, make_plan
from tests.chaos.record import End


def _plan(*faults: Fault) -> Plan:
    """A short run with only these faults."""
    return replace(make_plan(5, requests=60, faults=7, database_server=False), faults=faults, floor=Floor())


def _caught(report: Report) -> set[str]:
    return {violation.kind for violation in report.violations}


async def test_settling_after_the_end_is_caught() -> None:
    # What billing has not heard of when the edge dies is lost, although the client has the whole answer.
    plan = _plan(Fault(2.0, "billing-1", 0.5), Fault(2.6, "edge-1", 0.1))
    report = await run_plan(plan, modules={"edge": "tests.chaos.planted.late_settle"})
    # Seen at once, by a look at the ledger when the end comes, and afterwards by the charges that are missing.
    assert {"charge at the end", "wrong charge"} <= _caught(report), str(report)


async def test_charging_twice_is_caught() -> None:
    # The charges are made, their replies are lost, and the edge asks again.
    plan = _plan(Fault(1.0, "billing", 0.3, Kind.LOSE_REPLIES), Fault(2.5, "billing", 0.3, Kind.LOSE_REPLIES))
    report = await run_plan(plan, modules={"billing": "tests.chaos.planted.double_settle"})
    # The ledger's own audit sees it as well.
    assert {"wrong charge", "audit"} <= _caught(report), str(report)


async def test_without_a_mistake_the_same_runs_pass() -> None:
    faults = (Fault(1.0, "billing", 0.3, Kind.LOSE_REPLIES), Fault(2.0, "billing-1", 0.5), Fault(2.6, "edge-1", 0.1))
    report = await run_plan(_plan(*faults))
    assert not report.violations, str(report)


async def test_a_charge_that_nobody_heard_of_is_taken_back() -> None:
    # Longer than the edge waits for a settlement: the charges are made, and their clients get an error.
    report = await run_plan(_plan(Fault(1.0, "billing", 4.5, Kind.LOSE_REPLIES)))
    assert report.ends[End.ERROR_FRAME] > 0
    assert not report.violations, str(report)


async def test_booking_the_end_of_an_edge_as_its_clients_is_caught() -> None:
    report = await run_plan(
        _plan(Fault(2.0, "edge-1", 0.1, Kind.DRAIN)), modules={"edge": "tests.chaos.planted.booked_drain"}
    )
    assert {"wrong charge", "broken"} <= _caught(report), str(report)


async def test_a_hold_of_a_request_that_has_ended_is_caught() -> None:
    plan = _plan(Fault(1.0, "billing-1", 4.0, Kind.FREEZE))
    modules = {"billing": "tests.chaos.planted.late_reserve"}
    report = await run_plan(plan, database_server=True, modules=modules)
    assert "orphan hold" in _caught(report), str(report)


async def test_cutting_a_slow_reader_off_is_caught() -> None:
    # Each reads more slowly than the runner generates.
    slow = RequestPlan(at=0.0, account=0, prompt=0, stream=True, max_tokens=MOST_TOKENS, pause=0.2)
    plan = replace(_plan(), requests=tuple(replace(slow, at=number / 10) for number in range(20)))
    report = await run_plan(plan, modules={"edge": "tests.chaos.planted.cut_reader"})
    assert "broken" in _caught(report), str(report)


async def test_a_runner_that_swallows_requests_is_caught() -> None:
    modules = {
        "edge": "tests.chaos.planted.no_progress_watch",
        "runner-2": "tests.chaos.planted.swallowing_runner",
    }
    plan = _plan()
    report = await run_plan(replace(plan, requests=plan.requests[:20]), modules=modules)
    assert "starved" in _caught(report), str(report)
