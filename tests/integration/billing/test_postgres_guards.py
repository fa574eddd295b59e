"""What only PostgreSQL can be asked to do, and refuses."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import IntegrityError

from services.common.database.base import Database
from tests.integration.billing.operations_for_tests import execute


@pytest.mark.parametrize("table", ["entries", "holds", "grants"])
async def test_the_books_cannot_be_emptied(postgres_database_url: str, table: str) -> None:
    database = Database(postgres_database_url)
    with pytest.raises(IntegrityError, match=r"append-only|never deleted"):
        await execute(database, f"TRUNCATE {table}")
    await database.close()
