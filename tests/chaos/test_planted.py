"""The checker catches the mistakes that it exists for."""

from __future__ import annotations

from dataclasses import replace

from tests.chaos.driver import Report, run_plan
from tests.chaos.faults.fault import Fault, Kind
from tests.chaos.plan import MOST_TOKENS, Floor, Plan, RequestPlan, make_plan
from tests.chaos.record import End


def _plan(*faults: Fault) -> Plan:
    """A short run with only these faults."""
    return replace(make_plan(5, requests=60, faults=7, database_server=False), faults=faults, floor=Floor())


def _long_answers(count: int, *, pause: float = 0.0) -> tuple[RequestPlan, ...]:
    """Some of the longest streams, ten of which begin each second."""
    longest = RequestPlan(at=0.0, account=0, prompt=0, stream=True, max_tokens=MOST_TOKENS, pause=pause)
    return tuple(replace(longest, at=number / 10) for number in range(count))


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


async def test_without_a_mistake_the_same_faults_break_nothing() -> None:
    report = await run_plan(
        _plan(
            Fault(1.0, "billing", 0.3, Kind.LOSE_REPLIES),
            Fault(2.0, "billing-1", 0.5),
            Fault(2.6, "edge-1", 0.1),
            # Longer than the edge waits for a settlement: the charges are made, and their clients get an error. A
            # charge that nobody heard of is taken back.
            Fault(3.8, "billing", 4.5, Kind.LOSE_REPLIES),
        )
    )
    assert report.ends[End.ERROR_FRAME] > 0
    assert not report.violations, str(report)


async def test_booking_the_end_of_an_edge_as_its_clients_is_caught() -> None:
    plan = replace(_plan(Fault(1.5, "edge-1", 0.1, Kind.DRAIN)), requests=_long_answers(20))
    report = await run_plan(plan, modules={"edge": "tests.chaos.planted.booked_drain"})
    assert {"wrong charge", "broken"} <= _caught(report), str(report)


async def test_a_hold_of_a_request_that_has_ended_is_caught() -> None:
    # All at once, so that either replica of billing is asked to hold some of the prices.
    plan = _plan(Fault(0.5, "billing-1", 3.0, Kind.FREEZE))
    plan = replace(plan, requests=tuple(replace(request, at=0.7) for request in plan.requests[:30]))
    modules = {"billing": "tests.chaos.planted.late_reserve"}
    report = await run_plan(plan, database_server=True, modules=modules)
    assert "orphan hold" in _caught(report), str(report)


async def test_cutting_a_slow_reader_off_is_caught() -> None:
    # Each reads more slowly than the runner generates.
    plan = replace(_plan(), requests=_long_answers(20, pause=0.2))
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
