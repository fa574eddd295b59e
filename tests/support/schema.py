"""Databases of each kind with a schema of the past, for tests of migrations."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from services.common.database.schema import current_revision, version_table
from tests.support.postgres import create_database

KINDS = ("sqlite", "postgres")


def new_url(request: pytest.FixtureRequest, directory: Path) -> str:
    """Makes an empty database of the kind that a fixture's parameter names, and returns its URL."""
    if request.param == "sqlite":
        return f"sqlite:///{directory / 'old.db'}"
    return create_database(request.getfixturevalue("postgres_url"))


def make_schema(connection: sa.Connection, migrations: Path, revision: str) -> None:
    """Brings an empty database to one revision."""
    # Like `upgrade`: Alembic leaves a transaction alone only if it has begun, and reading begins it.
    assert current_revision(connection, migrations) is None
    config = Config()
    config.set_main_option("script_location", str(migrations))
    config.set_main_option("path_separator", "os")
    config.attributes |= {"connection": connection, "version_table": version_table(migrations)}
    command.upgrade(config, revision)
