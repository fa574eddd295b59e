"""The checker catches mistakes in how charges are made."""

from __future__ import annotations

from tests.chaos.driver import run_plan
from tests.chaos.faults.fault import Fault, Kind
from tests.chaos.planted.short_run import caught, short_plan
from tests.chaos.record import End


async def test_settling_after_the_end_is_caught() -> None:
    # What billing has not heard of when the edge dies is lost, although the client has the whole answer.
    plan = short_plan(Fault(2.0, "billing-1", 1.5), Fault(3.2, "edge-1", 0.1))
    report = await run_plan(plan, modules={"edge": "tests.chaos.planted.late_settle"})
    # Seen at once, by a look at the ledger when the end comes, and afterwards by the charges that are missing.
    assert {"charge at the end", "wrong charge"} <= caught(report), str(report)


async def test_charging_twice_is_caught() -> None:
    # The charges are made, their replies are lost, and the edge asks again.
    plan = short_plan(Fault(1.0, "billing", 0.3, Kind.LOSE_REPLIES), Fault(2.5, "billing", 0.3, Kind.LOSE_REPLIES))
    report = await run_plan(plan, modules={"billing": "tests.chaos.planted.double_settle"})
    # The ledger's own audit sees it as well.
    assert {"wrong charge", "audit"} <= caught(report), str(report)


async def test_without_a_mistake_the_same_faults_break_nothing() -> None:
    plan = short_plan(
        Fault(1.0, "billing", 0.3, Kind.LOSE_REPLIES),
        # Longer than the edge waits for a settlement: the charges are made, and their clients get an error. A charge
        # that nobody heard of is taken back.
        Fault(2.0, "billing", 4.5, Kind.LOSE_REPLIES),
        Fault(7.0, "billing-1", 1.5),
        Fault(8.2, "edge-1", 0.1),
        requests=120,
    )
    report = await run_plan(plan)
    assert report.ends[End.ERROR_FRAME] > 0
    assert not report.violations, str(report)
