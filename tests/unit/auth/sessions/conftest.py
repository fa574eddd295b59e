"""A world of sessions for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.auth.store.store import MIGRATIONS
from services.common.database.base import Database
from services.common.database.migrations import migrate
from tests.unit.auth.manual_clock import ManualClock
from tests.unit.auth.sessions.world import World


@pytest.fixture
def database_file(tmp_path: Path) -> Path:
    return tmp_path / "auth.db"


@pytest.fixture
async def world(database_file: Path, clock: ManualClock) -> AsyncIterator[World]:
    database = Database(f"sqlite:///{database_file}")
    await migrate(database, MIGRATIONS)
    world = World(database, clock)
    await world.fill()
    yield world
    await database.close()
