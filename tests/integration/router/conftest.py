from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.router.mesh import RouterMesh, router_mesh


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[RouterMesh]:
    async with router_mesh(tmp_path) as running:
        yield running
