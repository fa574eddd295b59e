"""Settings, make targets, modules and tests that the documentation names are there, on every page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.deploy.kubectl import ROOT
from tests.deploy.test_documentation import EVERY_PAGE

PAGES = [*EVERY_PAGE, *sorted((ROOT / "changelog.d").glob("*.md"))]
SERVICES = ("EDGE", "CONSOLE", "OPERATOR_CONSOLE", "AUTH", "BILLING", "ROUTER", "RUNNER", "PAYMENTS")
# What stands for several names goes on with a placeholder.
SETTING = re.compile(r"TIERMESH_[A-Z0-9_]*[A-Z0-9](?![A-Z0-9_]*[…<{*])(?![A-Z0-9])")
# A column of a table whose header has the beginning of all its settings.
PREFIX = re.compile(r"`(TIERMESH_[A-Z0-9_]+_)…`")

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@cache
def settings() -> frozenset[str]:
    """Returns every variable that a process, a command or a test reads."""
    # The page is generated, and `make lint` compares it with the code.
    named = set(re.findall(r"`(TIERMESH_[A-Z0-9_<>]+)`", (ROOT / "docs/reference/settings.md").read_text()))
    sources = [path for folder in ("tests", "bench") for path in (ROOT / folder).rglob("*.py")]
    own = {name for path in sources for name in re.findall(r"TIERMESH_(?:TEST|GPU)_[A-Z0-9_]+", path.read_text())}
    return frozenset(name.replace("<SERVICE>", service) for name in named for service in SERVICES) | own


@cache
def targets() -> frozenset[str]:
    """Returns the targets of the Makefile."""
    rules = re.findall(r"^([a-z][a-z -]*):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return frozenset(name for rule in rules for name in rule.split())


def code(page: Path) -> Iterator[str]:
    """Yields the lines of the blocks, and what stands between backticks in the other lines."""
    within = False
    for line in page.read_text().splitlines():
        if line.lstrip().startswith("```"):
            within = not within
        elif within:
            yield line.strip()
        else:
            yield from re.findall(r"`([^`]+)`", line)


def short_names(page: Path) -> Iterator[str]:
    """Yields the settings of tables that leave out the beginning which their header has."""
    column, prefix = None, ""
    for line in page.read_text().splitlines():
        cells = line.split(" | ")
        if not line.startswith("|"):
            column = None
        elif headers := [number for number, cell in enumerate(cells) if PREFIX.search(cell)]:
            column = headers[0]
            prefix = PREFIX.findall(line)[0]
        elif column is not None and column < len(cells):
            yield from (prefix + name for name in re.findall(r"`([A-Z][A-Z0-9_]+)`", cells[column]))


@every_page
def test_named_settings_are_real(page: Path) -> None:
    named = {*SETTING.findall(page.read_text()), *short_names(page)}
    assert not named - settings()


@every_page
def test_named_targets_are_real(page: Path) -> None:
    for text in code(page):
        if match := re.match(r"make((?: [a-z][a-z-]*)+)(?:$|[ )])", text):
            assert not set(match[1].split()) - targets(), text


def test_contributors_are_told_of_every_target_with_a_help_text() -> None:
    helped = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    told = re.findall(r"`make ([a-z-]+)", (ROOT / "CONTRIBUTING.md").read_text())
    assert set(helped) - set(told) == set()
    assert len(helped) > 30


@every_page
def test_named_modules_are_real(page: Path) -> None:
    for text in code(page):
        for name in re.findall(r"python3? (?:-u )?-m ((?:services|tests|bench)(?:\.\w+)+|bench)\b", text):
            path = ROOT / name.replace(".", "/")
            assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), text


@every_page
def test_tests_that_are_named_without_their_module_are_real(page: Path) -> None:
    # Decisions name tests of their time.
    if "decisions" not in page.parts:
        for name in re.findall(r"`(test_\w+)`", page.read_text()):
            assert re.search(rf"def {name}\(", all_tests()), name


@cache
def all_tests() -> str:
    return "\n".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))


def test_all_kinds_of_names_are_found() -> None:
    texts = [text for page in PAGES for text in code(page)]
    assert len(settings()) > 200
    assert {"run", "agents-python", "manifests-check", "release-check"} <= targets()
    assert any(text.startswith("make ") for text in texts)
    assert any("-m bench" in text for text in texts)
    assert "TIERMESH_EDGE_REMOTE_IMAGES" in set(short_names(ROOT / "docs/vision.md"))
    assert "TIERMESH_RUNNER_EXLLAMAV2_VISION" in set(short_names(ROOT / "docs/gpu.md"))
