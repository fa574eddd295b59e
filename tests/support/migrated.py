"""Databases with the newest schema, which tests copy: migrating takes longer than most tests."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from services.common.database.base import Database
from services.common.database.migrations import migrate
from tests.support.apart import run_apart
from tests.support.postgres import create_database


async def migrated(url: str, migrations: Path) -> None:
    """Brings a database to the newest schema."""
    database = Database(url)
    await migrate(database, migrations)
    await database.close()


def migrated_file(path: Path, migrations: Path) -> Path:
    """Makes a file of SQLite and returns its path."""
    run_apart(migrated(f"sqlite:///{path}", migrations))
    return path


def migrated_database(server_url: str, migrations: Path) -> str:
    """Makes a database of a PostgreSQL server and returns its name."""
    url = create_database(server_url)
    run_apart(migrated(url, migrations))
    return str(sa.make_url(url).database)
