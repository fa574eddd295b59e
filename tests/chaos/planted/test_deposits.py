"""The checker catches mistakes in how deposits are credited."""

from __future__ import annotations

from dataclasses import replace

from tests.chaos.driver import run_plan
from tests.chaos.plan import DepositPlan
from tests.chaos.planted.short_run import caught, short_plan


async def test_crediting_what_is_read_again_is_caught() -> None:
    plan = short_plan()
    # The two watchers read each block, one after the other.
    plan = replace(
        plan, requests=plan.requests[:10], deposits=(DepositPlan(0.2, 0, 20_000), DepositPlan(0.4, 1, 9_999))
    )
    report = await run_plan(plan, modules={"billing": "tests.chaos.planted.forgetful_deposits"})
    # The ledger's own audit sees it as well.
    assert {"deposits", "audit"} <= caught(report), str(report)
