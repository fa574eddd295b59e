"""An empty database of each kind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from services.common.database.base import Database
from tests.support.postgres import create_database


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.db'}"
    return create_database(request.getfixturevalue("postgres_url"))


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    """A database with a table of numbers."""
    database = Database(url)
    await database.transaction(
        lambda connection: connection.execute(sa.text("CREATE TABLE numbers (n INTEGER)")).close()
    )
    yield database
    await database.close()
