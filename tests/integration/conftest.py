"""What integration tests of several services share."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import pytest

from tests.support.mesh import LocalMesh
from tests.support.postgres import URL_VARIABLE, PostgresServer


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server for the whole session: the one that the environment names, else one of our own."""
    if given := os.environ.get(URL_VARIABLE):
        yield given
        return
    server = PostgresServer()
    try:
        server.start()
        yield server.url
    finally:
        server.remove()


@pytest.fixture(scope="package")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMesh]:
    """One mesh for all tests that need no other settings and leave it as it was; each test opens its own accounts.

    It ends with this folder's last test, because an idle mesh slows down what runs beside it.
    """
    mesh = LocalMesh(tmp_path_factory.mktemp("mesh"))
    asyncio.run(mesh.start())
    yield mesh
    asyncio.run(mesh.stop())
