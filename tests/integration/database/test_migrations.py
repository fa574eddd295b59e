"""Migrations are all or nothing, may run twice and at once, and never go backwards."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import sqlalchemy as sa

from services.common.database.base import Database
from services.common.database.migrations import migrate
from services.common.database.schema import SchemaVersionError, current_revision

_REVISION = """
from alembic import op

revision = "{number}"
down_revision = {previous!r}

def upgrade() -> None:
    {body}
"""


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    """A service with one migration."""
    folder = tmp_path / "shop" / "migrations"
    (folder / "versions").mkdir(parents=True)
    (folder / "env.py").write_text(
        "from services.common.database.migrations import run_in_alembic\n\nrun_in_alembic()\n"
    )
    add_revision(folder, "0001", None, "op.execute('CREATE TABLE goods (name TEXT)')")
    return folder


def add_revision(migrations: Path, number: str, previous: str | None, body: str) -> None:
    text = _REVISION.format(number=number, previous=previous, body=body)
    (migrations / "versions" / f"{number}_change.py").write_text(text)


async def revision(database: Database, migrations: Path) -> str | None:
    return await database.read(lambda connection: current_revision(connection, migrations))


async def test_migrating_twice_changes_nothing(database: Database, migrations: Path) -> None:
    for _ in range(2):
        await migrate(database, migrations)
        assert await revision(database, migrations) == "0001"
    await database.open(migrations=migrations)


async def test_several_may_migrate_at_once(url: str, database: Database, migrations: Path) -> None:
    others = [Database(url) for _ in range(3)]
    await asyncio.gather(*(migrate(each, migrations) for each in (database, *others)))
    assert await revision(database, migrations) == "0001"
    for other in others:
        await other.close()


async def test_a_failing_migration_leaves_the_schema_as_it_was(database: Database, migrations: Path) -> None:
    await migrate(database, migrations)
    add_revision(migrations, "0002", "0001", "op.execute('CREATE TABLE more (n INTEGER)'); raise KeyError('oops')")
    with pytest.raises(KeyError):
        await migrate(database, migrations)
    assert await revision(database, migrations) == "0001"
    assert not await database.read(lambda connection: sa.inspect(connection).has_table("more"))
    with pytest.raises(SchemaVersionError, match="has schema 0001, this version needs 0002"):
        await database.open(migrations=migrations)


async def test_a_newer_schema_is_left_alone(database: Database, migrations: Path) -> None:
    add_revision(migrations, "0002", "0001", "pass")
    await migrate(database, migrations)
    (migrations / "versions" / "0002_change.py").unlink()
    with pytest.raises(SchemaVersionError, match="newer than this version knows"):
        await migrate(database, migrations)
    assert await revision(database, migrations) == "0002"
