"""A mesh with a console, shared by the tests; each opens accounts of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest

from tests.integration.console.deposit_mesh import DepositMesh
from tests.integration.console.person import Operator, Owner, Person
from tests.support.mesh import LocalMesh

HOSTILE = '<img src=x onerror="window.hit = 1"><script>window.hit = 2</script>{{7*7}} \N{RIGHT-TO-LEFT OVERRIDE}evil'
LONG = "It goes on and on. " * 1000
SCRIPT = [
    {
        "when": {"role": "user", "contains": "weather"},
        "thought": "I do not know the weather, but there is a function.",
        "content": "I will look it up.",
        "calls": [{"name": "get_weather", "arguments": {"city": "Paris"}}],
    },
    {"when": {"role": "tool"}, "thought": "It has answered.", "content": "It is 18 degrees in Paris."},
    {"when": {"contains": "a hostile answer"}, "thought": HOSTILE, "content": HOSTILE},
    {"when": {"contains": "a long answer"}, "content": LONG},
]


@pytest.fixture(scope="package")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMesh]:
    """The mesh. Everybody signs in from one address, so that is not limited here."""
    limits = {"SIGN_INS_PER_MINUTE": "100000", "REGISTRATIONS_PER_HOUR": "100000", "LOG_LEVEL": "debug"}
    environ = {f"TIERMESH_CONSOLE_{name}": value for name, value in limits.items()}
    environ["TIERMESH_OPERATOR_CONSOLE_SIGN_INS_PER_MINUTE"] = "100000"
    # Fast, and slow enough that a long answer can be stopped: it would take a minute.
    environ["TIERMESH_RUNNER_SIMULATED_SPEED"] = "150"
    directory = tmp_path_factory.mktemp("console")
    script = directory / "script.json"
    script.write_text(json.dumps({"rules": SCRIPT}))
    options = ("--console-port", "0", "--script", str(script))
    mesh = LocalMesh(directory, *options, tiers=("pro", "max"), environ=environ)
    asyncio.run(mesh.start())
    yield mesh
    asyncio.run(mesh.stop())


@pytest.fixture(scope="package")
def deposit_mesh(mesh: LocalMesh, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DepositMesh]:
    """What takes deposits for the mesh, with a console that shows them."""
    deposit_mesh = DepositMesh(mesh, tmp_path_factory.mktemp("deposit_mesh"))
    asyncio.run(deposit_mesh.start())
    yield deposit_mesh
    asyncio.run(deposit_mesh.stop())


@pytest.fixture(scope="module")
def owner(mesh: LocalMesh) -> Owner:
    """An owner whose keys come and go with the tests of a file, and who has spent nothing before them."""
    return Owner(mesh)


@pytest.fixture
def person(owner: Owner) -> Iterator[Person]:
    """A browser at which the owner is signed in."""
    with owner.at_a_browser() as person:
        yield person


@pytest.fixture(scope="package")
def operator(mesh: LocalMesh) -> Operator:
    """An operator, whose name is as awkward as names get."""
    return Operator(mesh, "Zoë <b>O\N{RIGHT SINGLE QUOTATION MARK}Neil</b>")


@pytest.fixture
def desk_of_operator(operator: Operator) -> Iterator[Person]:
    """A browser at which the operator is signed in."""
    with operator.at_a_browser() as person:
        yield person
