"""One scripted mesh for the clients in Python, and an account for each conversation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.agents.python.customer import Customer
from tests.support.mesh import LocalMesh

SCRIPT = Path(__file__).parent / "script.yaml"
# In words, as the simulated engine counts a prompt: the longest first request here has some thousands.
CONTEXT = 32_768


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMesh]:
    environ = {"TIERMESH_RUNNER_SIMULATED_SCRIPT": str(SCRIPT), "TIERMESH_RUNNER_CONTEXT": str(CONTEXT)}
    with LocalMesh(tmp_path_factory.mktemp("agents"), tiers=("max",), environ=environ) as mesh:
        yield mesh


@pytest.fixture
def new_customer(mesh: LocalMesh) -> Callable[..., Customer]:
    """Makes customers; `credits` are what they have."""

    def make(credits: int = 1000) -> Customer:  # noqa: A002 - as the command calls them
        return Customer(mesh, credits)

    return make
