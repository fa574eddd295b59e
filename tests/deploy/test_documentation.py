"""The pages of docs/operations name commands, files and resources that exist."""

from __future__ import annotations

import re
import shlex
from functools import cache
from pathlib import Path

import click
import pytest
import yaml

from services.cli.__main__ import main as command_line
from tests.deploy.kubectl import ROOT, kubectl
from tests.deploy.links import dead_links
from tests.deploy.overlays import overlay, workloads
from tests.deploy.resources import containers

FOLDER = ROOT / "docs" / "operations"
PAGES = sorted(FOLDER.glob("*.md"))
NAMES = {f"{r['kind'].lower()}/{r['metadata']['name']}" for o in ("laptop", "production") for r in overlay(o)}
KINDS = {"deploy": "deployment", "svc": "service", "hpa": "horizontalpodautoscaler"}

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    assert dead_links(page) == []


@every_page
def test_commands_are_real(page: Path) -> None:
    for line in _commands(page.read_text()):
        _check(command_line, shlex.split(line, comments=True), line)


@every_page
def test_resources_are_real(page: Path) -> None:
    for kind, name in re.findall(r"\b(deploy|svc|hpa|job|statefulset)[/ ](tiermesh-[a-z-]+[a-z])\b", page.read_text()):
        assert f"{KINDS.get(kind, kind)}/{name}" in NAMES, f"{kind} {name}"


@every_page
def test_files_are_real(page: Path) -> None:
    for path in re.findall(r"\b(?:deploy|services|tests|protos)/[\w/.-]+\.\w+", page.read_text()):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("page", sorted(FOLDER.rglob("*.md")), ids=lambda page: page.stem)
def test_kubectl_knows_the_commands_and_their_flags(page: Path) -> None:
    for command in _kubectl_commands(page.read_text()):
        own = re.split(r" -- | # ", command)[0].split()
        assert "Usage:" in _help(*own), command


def test_the_secret_of_the_page_is_what_the_services_read() -> None:
    [command] = [c for c in _kubectl_commands((FOLDER / "install.md").read_text()) if " create secret generic " in c]
    secret = yaml.safe_load(kubectl(*shlex.split(command), "--dry-run=client", "--output=yaml"))
    read = {
        (source["name"], source["key"])
        for workload in workloads("production")
        for container in containers(workload)
        for variable in container.get("env", ())
        if (source := variable.get("valueFrom", {}).get("secretKeyRef"))
    }
    assert {(secret["metadata"]["name"], key) for key in secret["data"]} == read


@cache
def _help(*command: str) -> str:
    """Returns what kubectl says of a command; it refuses what it does not know before it helps."""
    return kubectl(*command, "--help")


def _kubectl_commands(text: str) -> list[str]:
    """Returns what follows `kubectl` in code; a command that goes on in the next line is one."""
    code = _code(text.replace("\\\n", " "))
    # What stands in `$(…)` is a command of its own.
    parts = [part for line in code for part in re.split(r"\$\(|\)\W|[;|]|&&", line)]
    return [match[1] for part in parts if (match := re.search(r"\bkubectl ([a-z-].*)", part))]


def _commands(text: str) -> list[str]:
    """Returns what follows `tiermesh` or its alias `mesh` in code."""
    parts = [part.strip() for line in _code(text) for part in re.split(r" ; |\s#\s", line)]
    return [match[1] for part in parts if (match := re.match(r"(?:tiermesh|mesh) ([a-z].*)", part))]


def _code(text: str) -> list[str]:
    """Returns the lines of code of a page, and the code within its lines."""
    return [line for line in text.splitlines() if line.startswith("    ")] + re.findall(r"`([^`]+)`", text)


def _check(command: click.Command, words: list[str], line: str) -> None:
    options = {name: option for option in command.params for name in (*option.opts, *option.secondary_opts)}
    while words:
        word, *words = words
        if word.startswith("--"):
            assert word in options, f"{line}: no option {word}"
            option = options[word]
            words = words if isinstance(option, click.Option) and option.is_flag else words[1:]
        elif isinstance(command, click.Group):
            assert word in command.commands, f"{line}: no command {word}"
            _check(command.commands[word], words, line)
            return
