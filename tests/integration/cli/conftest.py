from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.support.mesh import LocalMesh


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMesh]:
    """One mesh for all tests that leave it as it was."""
    mesh = LocalMesh(tmp_path_factory.mktemp("mesh"))
    asyncio.run(mesh.start())
    yield mesh
    asyncio.run(mesh.stop())
