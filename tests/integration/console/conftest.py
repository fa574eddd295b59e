"""A mesh with a console, shared by the tests; each opens accounts of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.integration.console.person import Operator, Owner, Person
from tests.support.mesh import LocalMesh


@pytest.fixture(scope="package")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMesh]:
    """The mesh. Everybody signs in from one address, so that is not limited here."""
    limits = {"SIGN_INS_PER_MINUTE": "100000", "REGISTRATIONS_PER_HOUR": "100000", "LOG_LEVEL": "debug"}
    environ = {f"TIERMESH_CONSOLE_{name}": value for name, value in limits.items()}
    environ["TIERMESH_OPERATOR_CONSOLE_SIGN_INS_PER_MINUTE"] = "100000"
    mesh = LocalMesh(tmp_path_factory.mktemp("console"), "--console-port", "0", environ=environ)
    asyncio.run(mesh.start())
    yield mesh
    asyncio.run(mesh.stop())


@pytest.fixture(scope="package")
def owner(mesh: LocalMesh) -> Owner:
    """An owner whose keys come and go with the tests."""
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
