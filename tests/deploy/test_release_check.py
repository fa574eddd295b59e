"""The check before a release refuses each thing that is not ready, and nothing else."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.deploy.kubectl import ROOT

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
COPIED = ("deploy/images", "deploy/k8s", "docs/operations")
OVERLAY = "deploy/k8s/overlays/production/kustomization.yaml"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository that is ready, with the images, manifests and guides of this one."""
    for folder in COPIED:
        shutil.copytree(ROOT / folder, tmp_path / folder)
    shutil.copy2(ROOT / "deploy" / "release-check", tmp_path / "deploy")
    (tmp_path / "changelog.d").mkdir()
    (tmp_path / "changelog.d" / "README.md").write_text("How.\n")
    (tmp_path / "CHANGELOG.md").write_text(f"# Changelog\n\n## {VERSION} (2026-01-02)\n\n- Something.\n")
    git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    return tmp_path


def git(checkout: Path, *arguments: str) -> None:
    who = ("-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *who, *arguments], cwd=checkout, check=True, capture_output=True)


def commit(checkout: Path) -> None:
    git(checkout, "add", "--all")
    git(checkout, "commit", "--quiet", "--allow-empty", "--message", "Change")


def refusals(checkout: Path) -> list[str]:
    command = [str(checkout / "deploy" / "release-check"), VERSION]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.findall(r"^release-check: (.*)", done.stdout, re.MULTILINE)
    assert done.returncode == (1 if found else 0), done.stderr
    return found


def test_what_is_ready_passes(checkout: Path) -> None:
    assert refusals(checkout) == []
    git(checkout, "tag", f"v{VERSION}")
    assert refusals(checkout) == []


def replace(path: str, old: str, new: str) -> Callable[[Path], None]:
    def change(checkout: Path) -> None:
        text = (checkout / path).read_text()
        assert old in text
        (checkout / path).write_text(text.replace(old, new, 1))

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda checkout: (checkout / "changelog.d" / "+a.api.md").write_text("A.\n"), "holds fragments"),
        (replace("CHANGELOG.md", " (2026-01-02)", ""), "has no section"),
        (replace("CHANGELOG.md", f"## {VERSION}", f"## 9{VERSION}"), "has no section"),
        (replace("CHANGELOG.md", "# Changelog\n", "# Changelog\n\n## 9.9.9 (unreleased)\n"), "is unreleased"),
        (replace("deploy/images/control.Dockerfile", f"ARG VERSION={VERSION}", "ARG VERSION=9.9.9"), "not version"),
        (replace("deploy/k8s/base/edge.yaml", f"control:{VERSION}", "control:9.9.9"), "not version"),
        (replace(OVERLAY, f"newTag: {VERSION}", "newTag: 9.9.9"), "not version"),
        (replace("docs/operations/install.md", f"control:{VERSION}", "control:9.9.9"), "not version"),
    ],
    ids=["fragment", "date", "section", "unreleased", "image", "manifest", "overlay", "guide"],
)
def test_what_is_not_ready_is_refused(checkout: Path, change: Callable[[Path], None], reason: str) -> None:
    change(checkout)
    commit(checkout)
    [refusal] = refusals(checkout)
    assert reason in refusal


def test_changes_that_are_not_committed_are_refused(checkout: Path) -> None:
    replace("CHANGELOG.md", "Something", "Another thing")(checkout)
    [refusal] = refusals(checkout)
    assert "not committed" in refusal


def test_a_tag_on_another_commit_is_refused(checkout: Path) -> None:
    git(checkout, "tag", f"v{VERSION}")
    commit(checkout)
    [refusal] = refusals(checkout)
    assert "on another commit" in refusal
