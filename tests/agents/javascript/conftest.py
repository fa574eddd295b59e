"""A mesh with the script of the module, and what each agent is given."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.agents.javascript.agent import Desk
from tests.agents.javascript.recording_proxy import RecordingProxy
from tests.support.account import FundedAccount
from tests.support.mesh import LocalMesh

# Longer than the instructions of any agent here.
CONTEXT = 131_072


@pytest.fixture(scope="module")
def mesh(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMesh]:
    """A simulated engine that follows the SCRIPT of the module, at its SPEED in tokens a second."""
    directory = tmp_path_factory.mktemp("mesh")
    script = directory / "script.yaml"
    script.write_text(request.module.SCRIPT)
    environ = {
        "TIERMESH_RUNNER_SIMULATED_SCRIPT": str(script),
        "TIERMESH_RUNNER_SIMULATED_SPEED": str(getattr(request.module, "SPEED", 0)),
        "TIERMESH_RUNNER_CONTEXT": str(CONTEXT),
    }
    with LocalMesh(directory, tiers=("pro", "max"), environ=environ) as mesh:
        yield mesh


@pytest.fixture
async def desk(mesh: LocalMesh, tmp_path: Path) -> AsyncIterator[Desk]:
    """A new account, home and project."""
    home, project = tmp_path / "home", tmp_path / "project"
    home.mkdir()
    project.mkdir()
    account = FundedAccount(mesh)
    async with RecordingProxy(mesh.base_url.removesuffix("/v1")) as proxy:
        yield Desk(home, project, account, account.new_key()["api_key"], proxy)
