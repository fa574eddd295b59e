"""What the files for contributors and reporters name exists: paths, tests, targets, types of fragments."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.deploy.kubectl import ROOT
from tests.deploy.links import dead_links
from tests.deploy.test_workflows import TARGETS

PAGES = [
    ROOT / name
    for name in (
        "SECURITY.md", "CONTRIBUTING.md", "CODE_OF_CONDUCT.md", "docs/threat-model.md", "docs/release.md",
        "changelog.d/README.md", ".github/pull_request_template.md", ".github/ISSUE_TEMPLATE/bug.yml",
    )
]  # fmt: skip

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    assert dead_links(page) == []


@every_page
def test_targets_exist(page: Path) -> None:
    for named in re.findall(r"(?:`|^ *)make ([a-z][a-z -]*[a-z])", page.read_text(), re.MULTILINE):
        assert set(named.split()) <= TARGETS, named


@pytest.mark.parametrize("name", ["docs/threat-model.md", "docs/release.md"])
def test_files_exist(name: str) -> None:
    paths = re.findall(r"`((?:\.ci|\.github|build|deploy|docs|services|tests)/[\w/.-]+)`", (ROOT / name).read_text())
    assert paths
    for path in paths:
        assert (ROOT / path).exists() or path.startswith("build/"), path


def test_the_tests_of_the_threat_model_exist() -> None:
    sources = sorted((ROOT / "tests").rglob("test_*.py"))
    files = {path.name for path in sources}
    # Contracts that several classes of tests keep are classes themselves.
    contracts = sorted((ROOT / "tests" / "support").glob("*_contract.py"))
    functions = {
        name
        for path in [*sources, *contracts]
        for name in re.findall(r"^ *(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    quoted = set(re.findall(r"`(test_\w+(?:\.py)?)`", (ROOT / "docs" / "threat-model.md").read_text()))
    assert len(quoted) > 20
    assert quoted <= files | functions


def test_owned_paths_exist() -> None:
    lines = [line.split() for line in (ROOT / ".github" / "CODEOWNERS").read_text().splitlines()]
    owned = {words[0]: words[1:] for words in lines if words and words[0] != "#"}
    assert owned.pop("*")
    for path, owners in owned.items():
        assert (ROOT / path.lstrip("/")).exists(), path
        assert owners, path


def test_updates_wait_and_look_where_something_is() -> None:
    updates = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text())["updates"]
    assert {update["package-ecosystem"] for update in updates} == {"github-actions", "npm", "pip", "docker"}
    for update in updates:
        assert update["cooldown"]["default-days"] >= 7
        for directory in update.get("directories", [update.get("directory")]):
            assert any((ROOT / directory.lstrip("/")).iterdir())


def test_hooks_need_no_network() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repository["repo"] for repository in hooks] == ["local"]
    for hook in hooks[0]["hooks"]:
        # Any other language lets pre-commit install something.
        assert hook["language"] == "system"
        program, argument = hook["entry"].split()[:2]
        assert program.startswith(".venv/bin/") or (program == "make" and argument in TARGETS)


def test_fragments_have_a_known_type_and_hold_one_line() -> None:
    settings = tomllib.loads((ROOT / "towncrier.toml").read_text())["tool"]["towncrier"]
    types = [kind["directory"] for kind in settings["type"]]
    assert re.findall(r"^\| `(\w+)` \|", (ROOT / "changelog.d" / "README.md").read_text(), re.MULTILINE) == types
    assert settings["start_string"] in (ROOT / "CHANGELOG.md").read_text()
    for path in (ROOT / "changelog.d").iterdir():
        if path.name not in settings["ignore"]:
            assert re.fullmatch(rf"\+[a-z0-9-]+\.({'|'.join(types)})\.md", path.name), path.name
            assert re.fullmatch(r"[^-\s][^\n]+\.\n", path.read_text()), path.name
