"""A short run of the chaos driver; `make chaos` does long ones."""

from __future__ import annotations

from dataclasses import replace

from tests.chaos.driver import run_plan
from tests.chaos.faults.fault import Fault
from tests.chaos.plan import Floor, make_plan, with_deposits, with_upstream
from tests.chaos.record import End


async def test_a_mesh_that_is_hurt_all_over_keeps_its_books() -> None:
    # With a chain: what arrives there is credited, to the unit.
    plan = with_deposits(with_upstream(make_plan(2026, requests=150, faults=6, database_server=False)))
    report = await run_plan(plan)
    assert not report.violations, str(report)
    # The run was worth something: the mesh worked in spite of it all, and it did suffer.
    assert report.ends[End.COMPLETE] >= 20
    assert report.ends[End.LEFT] >= 10
    asked, completed, _ = report.upstream
    assert asked >= 40
    assert completed >= 8
    assert report.ends[End.BROKEN] + report.ends[End.ERROR_FRAME] + report.ends[End.REFUSED] >= 5


async def test_a_database_that_is_away_delays_charges_and_loses_none() -> None:
    plan = make_plan(2027, requests=90, faults=8, database_server=True)
    plan = replace(plan, faults=(Fault(1.5, "database", 0.3), Fault(5.0, "database", 0.1)), floor=Floor(0.4))
    report = await run_plan(plan, database_server=True)
    assert not report.violations, str(report)
    # An answer whose charge must wait is completed late; it is not thrown away.
    assert report.ends[End.ERROR_FRAME] == 0
