"""The documentation names pages, files, tests, commands and resources that exist."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import click
import pytest
import yaml

from services.cli.__main__ import main as command_line
from tests.deploy.kubectl import ROOT, kubectl
from tests.deploy.links import dead_links
from tests.deploy.overlays import OVERLAYS, overlay, workloads
from tests.deploy.procedures import commands, kubectl_commands
from tests.deploy.resources import containers

FOLDER = ROOT / "docs" / "operations"
PAGES = sorted(FOLDER.glob("*.md"))
EVERY_PAGE = sorted(
    page for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")] if "node_modules" not in page.parts
)
# What looks like a path and is none: resources of Kubernetes, such as deploy/tiermesh-edge.
RESOURCE = re.compile(r"deploy/tiermesh(-[\w-]*)?$")
# What only exists once something was made or installed.
MADE = (
    "docs/style/node_modules",
    "tests/agents/codex/node_modules",
    "tests/agents/javascript/node_modules",
    "tests/e2e/javascript/node_modules",
    "tests/support/anvil/node_modules",
    "tests/support/chromium/node_modules",
    "deploy/k8s/overlays/example",
)
NAMES = {f"{r['kind'].lower()}/{r['metadata']['name']}" for o in ("laptop", "production") for r in overlay(o)}
KINDS = {"deploy": "deployment", "svc": "service", "hpa": "horizontalpodautoscaler"}

operations = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
every_page = pytest.mark.parametrize("page", EVERY_PAGE, ids=lambda page: str(page.relative_to(ROOT)))


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    assert dead_links(page) == []


@every_page
def test_paths_are_real(page: Path) -> None:
    folders = "bench|deploy|docs|protos|requirements|services|tests"
    # A path that goes on with a placeholder or a pattern names no single file.
    for path in re.findall(rf"(?<![\w/.~-])(?:{folders})/[\w./-]*[\w/](?![\w./-]*[<{{*…])", page.read_text()):
        assert (ROOT / path).exists() or RESOURCE.match(path) or path.startswith(MADE), path


@every_page
def test_named_tests_are_real(page: Path) -> None:
    for module, test in re.findall(r"`(test_\w+\.py)(?:::(test_\w+))?`", page.read_text()):
        sources = [path.read_text() for path in (ROOT / "tests").rglob(module)]
        assert any(f"def {test}" in source for source in sources), f"{module}::{test}"


def test_the_index_lists_every_page() -> None:
    index = ROOT / "docs" / "README.md"
    listed = {(index.parent / link).resolve() for link in re.findall(r"\]\(([^)#:]+)\)", index.read_text())}
    # The decisions and the runbooks are listed as folders.
    missing = {page for page in EVERY_PAGE if not listed & {page, *page.parents}} - {index, ROOT / "README.md"}
    assert not missing


@every_page
def test_commands_are_real(page: Path) -> None:
    for command in commands(page):
        words = list(command.inner or command.words)
        if words[0] == "env":
            words = [word for word in words[1:] if "=" not in word]
        if words[0] in {"tiermesh", "mesh"}:
            _check(command_line, words[1:], " ".join(words))


@operations
def test_resources_are_real(page: Path) -> None:
    for kind, name in re.findall(r"\b(deploy|svc|hpa|job|statefulset)[/ ](tiermesh-[a-z-]+[a-z])\b", page.read_text()):
        assert f"{KINDS.get(kind, kind)}/{name}" in NAMES, f"{kind} {name}"


@pytest.mark.parametrize("page", sorted(FOLDER.rglob("*.md")), ids=lambda page: page.stem)
def test_kubectl_knows_the_commands_and_their_flags(page: Path) -> None:
    for command in kubectl_commands(page):
        assert "Usage:" in _help(*command.own), command


def test_the_secrets_of_the_page_are_what_the_services_read() -> None:
    made = set()
    for command in kubectl_commands(FOLDER / "install.md"):
        if {"create", "generic"} <= set(command.arguments):
            secret = yaml.safe_load(kubectl(*command.own, "--dry-run=client", "--output=yaml"))
            made |= {(secret["metadata"]["name"], key) for key in secret["data"]}
    read = {
        (source["name"], source["key"])
        for overlay_name in OVERLAYS
        for workload in workloads(overlay_name)
        for container in containers(workload)
        for variable in container.get("env", ())
        if (source := variable.get("valueFrom", {}).get("secretKeyRef"))
    }
    assert made == read


@cache
def _help(*command: str) -> str:
    """Returns what kubectl says of a command; it refuses what it does not know before it helps."""
    return kubectl(*command, "--help")


def _check(command: click.Command, words: list[str], line: str) -> None:
    options = {name: option for option in command.params for name in (*option.opts, *option.secondary_opts)}
    while words:
        word, *words = words
        if word == "--help":
            continue
        if word.startswith("--"):
            assert word in options, f"{line}: no option {word}"
            option = options[word]
            words = words if isinstance(option, click.Option) and option.is_flag else words[1:]
        elif isinstance(command, click.Group):
            assert word in command.commands, f"{line}: no command {word}"
            _check(command.commands[word], words, line)
            return
