"""Images, hosted workflows, tools and pages agree on which Pythons are shipped, tested and supported."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import yaml

from tests.deploy.kubectl import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
OLDEST = PROJECT["project"]["requires-python"].removeprefix(">=")
CI: dict[str, Any] = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]


def test_what_is_shipped_is_what_all_checks_run_on() -> None:
    images = [
        found
        for path in sorted((ROOT / "deploy" / "images").glob("*.Dockerfile"))
        for found in re.findall(r"^ARG PYTHON_IMAGE=docker.io/library/python:(\S+)$", path.read_text(), re.MULTILINE)
    ]
    assert len(images) == 2
    assert len(set(images)) == 1, "the images have different Pythons"
    assert re.match(r"3\.\d+", images[0]).group() == version_of("checks")  # type: ignore[union-attr]


def test_tools_and_locks_are_set_to_the_oldest() -> None:
    assert PROJECT["tool"]["ruff"]["target-version"] == f"py{OLDEST.replace('.', '')}"
    assert PROJECT["tool"]["mypy"]["python_version"] == OLDEST
    makefile = (ROOT / "Makefile").read_text()
    assert re.findall(r"^COMPILE := .* --python-version (\S+)", makefile, re.MULTILINE) == [OLDEST]
    assert f"sys.version_info < ({OLDEST.replace('.', ', ')})" in makefile
    for page in ("README.md", "CONTRIBUTING.md"):
        assert f"You need Python {OLDEST} or newer" in (ROOT / page).read_text()


def test_a_mesh_runs_on_the_newest_and_the_page_names_it() -> None:
    newest = version_of("newest-python")
    assert minor(newest) > minor(version_of("checks")) >= minor(OLDEST)
    assert newest in CI["newest-python"]["name"]
    assert version_of("checks") in CI["checks"]["name"]
    assert f"and {newest}, " in (ROOT / "CONTRIBUTING.md").read_text()


def version_of(job: str) -> str:
    """Returns the Python of a job of the hosted workflow."""
    [version] = [
        step["with"]["python-version"] for step in CI[job]["steps"] if "python-version" in step.get("with", {})
    ]
    return str(version)


def minor(version: str) -> int:
    return int(version.split(".")[1])
