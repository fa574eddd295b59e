"""The hosted workflows do what `.ci/run` and the Makefile do, with pinned actions and the least rights."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.kubectl import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z-]+):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE))
# Jobs that may write, and what.
WRITERS = {("dependencies", "propose"): {"contents": "write", "pull-requests": "write"}}

every_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


def jobs(path: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(path.read_text())["jobs"]
    return found


def test_ci_runs_what_continuous_integration_runs() -> None:
    steps = [step for job in jobs(ROOT / ".github/workflows/ci.yml").values() for step in job["steps"]]
    assert {step["run"] for step in steps if "run" in step} >= {".ci/run"}


@every_workflow
def test_commands_exist(path: Path) -> None:
    commands = [step["run"] for job in jobs(path).values() for step in job["steps"] if "run" in step]
    assert commands
    for command in commands:
        assert set(re.findall(r"\bmake (?:--\S+ )*([a-z-]+)", command)) <= TARGETS, command
        for script in re.findall(r"(?<!\S)\.ci/\S+", command):
            # Anyone may run it.
            assert (ROOT / script).stat().st_mode & 0o111 == 0o111, command


@every_workflow
def test_actions_are_pinned_by_commit_and_say_their_version(path: Path) -> None:
    for line in re.findall(r"uses: *(.*)", path.read_text()):
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line


def test_an_action_has_one_version() -> None:
    uses = {line for path in WORKFLOWS for line in re.findall(r"uses: *(.*)", path.read_text())}
    assert len(uses) == len({line.partition("@")[0] for line in uses}) > 1


@every_workflow
def test_rights_time_and_concurrency_are_limited(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["group"]
    for name, job in jobs(path).items():
        assert 0 < job["timeout-minutes"] <= 60, name
        assert job.get("permissions", {}) == WRITERS.get((path.stem, name), {}), name
