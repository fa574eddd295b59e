"""The checker catches mistakes in how requests end."""

from __future__ import annotations

from dataclasses import replace

from tests.chaos.driver import run_plan
from tests.chaos.faults.fault import Fault, Kind
from tests.chaos.planted.short_run import caught, long_answers, short_plan


async def test_booking_the_end_of_an_edge_as_its_clients_is_caught() -> None:
    plan = replace(short_plan(Fault(1.5, "edge-1", 0.1, Kind.DRAIN)), requests=long_answers(20))
    report = await run_plan(plan, modules={"edge": "tests.chaos.planted.booked_drain"})
    assert {"wrong charge", "broken"} <= caught(report), str(report)


async def test_a_hold_of_a_request_that_has_ended_is_caught() -> None:
    # All at once, so that either replica of billing is asked to hold some of the prices.
    plan = short_plan(Fault(0.5, "billing-1", 3.0, Kind.FREEZE))
    plan = replace(plan, requests=tuple(replace(request, at=0.7) for request in plan.requests[:30]))
    modules = {"billing": "tests.chaos.planted.late_reserve"}
    report = await run_plan(plan, database_server=True, modules=modules)
    assert "orphan hold" in caught(report), str(report)
