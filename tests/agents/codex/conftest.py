"""A mesh whose simulated model follows a script, and what Codex is given."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agents.codex.installed import Codex
from tests.support.account import FundedAccount
from tests.support.mesh import LocalMesh

# Longer than Codex' own instructions.
CONTEXT = 131_072


@pytest.fixture(scope="module")
def mesh(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMesh]:
    """A mesh for the SCRIPT of the module."""
    directory = tmp_path_factory.mktemp("codex")
    script = directory / "script.yaml"
    script.write_text(request.module.SCRIPT)
    environ = {"TIERMESH_RUNNER_SIMULATED_SCRIPT": str(script), "TIERMESH_RUNNER_CONTEXT": str(CONTEXT)}
    with LocalMesh(directory, tiers=("max",), environ=environ) as mesh:
        yield mesh


@pytest.fixture
def codex(mesh: LocalMesh, tmp_path: Path) -> Codex:
    """Codex with an account of its own, configured as docs/agents.md says."""
    home, project = tmp_path / "home", tmp_path / "project"
    home.mkdir()
    project.mkdir()
    account = FundedAccount(mesh)
    codex = Codex(home, project, account, account.new_key()["api_key"])
    codex.configure()
    return codex
