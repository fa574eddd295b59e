"""The checker catches mistakes in whom the mesh takes for alive."""

from __future__ import annotations

from dataclasses import replace

from tests.chaos.driver import run_plan
from tests.chaos.planted.short_run import caught, long_answers, short_plan


async def test_cutting_a_slow_reader_off_is_caught() -> None:
    # Each reads more slowly than the runner generates.
    plan = replace(short_plan(), requests=long_answers(20, pause=0.2))
    report = await run_plan(plan, modules={"edge": "tests.chaos.planted.cut_reader"})
    assert "broken" in caught(report), str(report)


async def test_a_runner_that_swallows_requests_is_caught() -> None:
    modules = {
        "edge": "tests.chaos.planted.no_progress_watch",
        "runner-2": "tests.chaos.planted.swallowing_runner",
    }
    plan = short_plan()
    report = await run_plan(replace(plan, requests=plan.requests[:20]), modules=modules)
    assert "starved" in caught(report), str(report)
