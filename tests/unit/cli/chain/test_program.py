"""Which anvil is taken, and what is said where there is none. The real installation is an integration test."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from services.cli.chain import program
from services.cli.chain.program import find_anvil, version_of
from services.cli.errors import CliError
from tests.support.programs import ROOT

Program = Callable[[str, str], Path]


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Puts a program on a PATH that has no other one, and returns where it is."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def put(name: str, script: str) -> Path:
        path = folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o700)
        return path

    return put


@pytest.fixture
def no_wheel_of_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


def never(text: str) -> None:
    raise AssertionError(text)


@pytest.mark.parametrize("version", ["1.7.1", "1.10.0", "2.0.0-nightly"])
def test_one_on_path_that_is_new_enough_is_taken(on_path: Program, tmp_path: Path, version: str) -> None:
    there = on_path("anvil", f"echo 'anvil Version: {version}'")
    assert find_anvil(tmp_path / "state", never) == there
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("script", ["echo 'anvil 0.2.0 (abc 2024)'", "echo nothing", "exit 1"])
@pytest.mark.usefixtures("no_wheel_of_node")
def test_another_one_is_not_taken_and_the_line_says_what_to_do(on_path: Program, tmp_path: Path, script: str) -> None:
    on_path("anvil", script)
    with pytest.raises(CliError, match=r"neither anvil nor npm here\. Install Node with npm.* anvil 1\.7\.1 or newer"):
        find_anvil(tmp_path / "state", never)


def test_an_installation_that_fails_says_what_npm_said(on_path: Program, tmp_path: Path) -> None:
    on_path("npm", "echo 'npm error network no route' >&2; exit 1")
    said: list[str] = []
    with pytest.raises(CliError, match="npm could not install anvil: npm error network no route"):
        find_anvil(tmp_path / "state", said.append)
    assert len(said) == 1


def test_a_machine_without_a_package_is_told_so(on_path: Program, tmp_path: Path) -> None:
    on_path("npm", "exit 0")
    with pytest.raises(CliError, match="no npm package of anvil for this kind of machine"):
        find_anvil(tmp_path / "state", lambda text: None)


def test_what_is_no_program_has_no_version(tmp_path: Path) -> None:
    assert version_of(tmp_path / "nothing") is None


def test_every_file_of_the_package_is_pinned_and_the_tests_have_the_same_release() -> None:
    folder = ROOT / "services" / "cli" / "chain" / "anvil"
    wanted = json.loads((folder / "package.json").read_bytes())["optionalDependencies"]
    assert set(wanted.values()) == {".".join(map(str, program.OLDEST))}
    locked = json.loads((folder / "package-lock.json").read_bytes())["packages"]
    found = {name.removeprefix("node_modules/"): each for name, each in locked.items() if name}
    assert {name: each["version"] for name, each in found.items()} == wanted
    assert all(each["integrity"].startswith("sha512-") and "resolved" not in each for each in found.values())
    tests = json.loads((ROOT / "tests" / "support" / "anvil" / "package.json").read_bytes())
    assert tests["optionalDependencies"].items() <= wanted.items()
