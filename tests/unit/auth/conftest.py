"""What the tests of auth share: a clock that only tests move, and a real store in SQLite."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.auth.store.store import MIGRATIONS, AuthStore
from services.common.database.base import Database
from services.common.database.migrations import migrate
from tests.unit.auth.manual_clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[AuthStore]:
    database = Database(f"sqlite:///{tmp_path / 'auth.db'}")
    await migrate(database, MIGRATIONS)
    yield AuthStore(database)
    await database.close()
