"""The pages of docs/operations name commands, files and resources that exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from services.cli.__main__ import main as command_line
from tests.deploy.overlays import ROOT, overlay

FOLDER = ROOT / "docs" / "operations"
PAGES = sorted(FOLDER.glob("*.md"))
NAMES = {f"{r['kind'].lower()}/{r['metadata']['name']}" for o in ("laptop", "production") for r in overlay(o)}
KINDS = {"deploy": "deployment", "svc": "service", "hpa": "horizontalpodautoscaler"}

pytestmark = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", page.read_text()):
        assert (page.parent / link).exists(), link


def test_commands_are_real(page: Path) -> None:
    for line in _commands(page.read_text()):
        _check(command_line, shlex.split(line, comments=True), line)


def test_resources_are_real(page: Path) -> None:
    for kind, name in re.findall(r"\b(deploy|svc|hpa|job|statefulset)[/ ](tiermesh-[a-z-]+[a-z])\b", page.read_text()):
        assert f"{KINDS.get(kind, kind)}/{name}" in NAMES, f"{kind} {name}"


def test_files_are_real(page: Path) -> None:
    for path in re.findall(r"\b(?:deploy|services|tests|protos)/[\w/.-]+\.\w+", page.read_text()):
        assert (ROOT / path).exists(), path


def _commands(text: str) -> list[str]:
    """Returns what follows `tiermesh` or its alias `mesh` in code."""
    code = [line for line in text.splitlines() if line.startswith("    ")] + re.findall(r"`([^`]+)`", text)
    parts = [part.strip() for line in code for part in re.split(r" ; |\s#\s", line)]
    return [match[1] for part in parts if (match := re.match(r"(?:tiermesh|mesh) ([a-z].*)", part))]


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
