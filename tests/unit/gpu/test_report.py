from __future__ import annotations

import asyncio
import json
import time
from functools import partial
from pathlib import Path

import pytest

from tests.gpu.report import Figures, NotRunError, Report

FOREVER = time.time() + 1e6


async def works() -> Figures:
    return {"tokens": 7}


async def fails() -> Figures:
    raise AssertionError("six | seven\nand more")


async def cannot() -> Figures:
    raise NotRunError("nothing to run")


async def hangs() -> Figures:
    await asyncio.Event().wait()
    return {}


def failed(report: Report) -> bool:
    # As a function, because the type checker takes a property to be constant.
    return report.failed


def test_every_step_is_in_the_report_as_soon_as_it_has_ended(tmp_path: Path) -> None:
    report = Report("test-gpu", {"torch": "2.11"}, tmp_path, FOREVER)
    report.run("one", works)
    assert json.loads((tmp_path / "test-gpu.json").read_text())["steps"][0]["figures"] == {"tokens": 7}
    report.run("two", cannot)
    report.skip("three", "no model")
    assert not failed(report)
    report.run("four", fails)
    report.run("five", partial(hangs), limit=0.05)
    outcomes = [step["outcome"] for step in json.loads((tmp_path / "test-gpu.json").read_text())["steps"]]
    assert outcomes == ["pass", "not run", "not run", "fail", "fail"]
    table = (tmp_path / "test-gpu.md").read_text()
    assert "| one | pass | 0.0 | tokens 7 |" in table
    assert failed(report)
    assert "six \\| seven and more" in table


@pytest.mark.parametrize("seconds_ago", [0.0, 60.0])
def test_nothing_is_begun_after_the_time(tmp_path: Path, seconds_ago: float) -> None:
    report = Report("bench-gpu", {}, tmp_path, time.time() - seconds_ago)
    report.run("late", works)
    assert (report.steps[0].outcome, report.steps[0].reason) == ("not run", "no time was left")
    assert report.failed
