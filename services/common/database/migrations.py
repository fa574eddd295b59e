"""Brings a database to the newest schema.

Alembic is imported only where there is something to migrate: it takes longer to import than the check of the version,
which is all that `tiermesh up` needs at most of its starts.

A service has a folder `migrations/` with `versions/` and an `env.py` of two lines that calls `run_in_alembic`, and a
`migrate.py` that calls `main`.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import asyncpg
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from services.common.database.base import Database
from services.common.database.schema import SchemaVersionError, current_revision, revisions, version_table
from services.common.errors import MeshError
from services.common.settings import SettingsError

# Any number will do as long as every migration of every service takes the same one.
_ADVISORY_LOCK = 0x7469_6572
# insufficient_privilege: on PostgreSQL 15 and newer, all that a user who does not own the database gets.
_FORBIDDEN_STATE = "42501"


def upgrade(connection: sa.Connection, migrations: Path) -> None:
    """Brings the schema up to date inside the given transaction; several processes may try at once."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
    current = current_revision(connection, migrations)
    known = revisions(migrations)
    if current is not None and current not in known:
        raise SchemaVersionError(
            f"the schema {current} is newer than this version knows ({known[-1]}); nothing was changed"
        )
    if current == known[-1]:
        return
    from alembic import command
    from alembic.config import Config

    config = Config()
    # ConfigParser, which Alembic uses, gives the percent sign a meaning.
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    config.attributes["version_table"] = version_table(migrations)
    command.upgrade(config, "head")


def run_in_alembic() -> None:
    """The body of every `env.py`: runs the migrations on the connection that `upgrade` was given."""
    from alembic import context

    attributes = context.config.attributes
    context.configure(connection=attributes["connection"], version_table=attributes["version_table"])
    context.run_migrations()


async def migrate(database: Database, migrations: Path) -> None:
    """Brings a database up to date; all of it or nothing."""
    await database.transaction(lambda connection: upgrade(connection, migrations))


def main(url: str, migrations: Path) -> None:
    """The migrate command: says what it did, or why it could not."""
    try:
        asyncio.run(_migrate_and_close(url, migrations))
    except (SettingsError, MeshError) as error:
        detail = f" ({error.__cause__})" if error.__cause__ else ""
        sys.exit(f"cannot migrate: {error}{detail}")
    except (DBAPIError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        sys.exit(f"cannot migrate: {_refusal(error)}")


def _refusal(error: Exception) -> str:
    """Returns what the database said, without the statement that it said it of."""
    said = error.orig if isinstance(error, DBAPIError) else error
    # SQLAlchemy keeps asyncpg's error as the cause of its own.
    said = getattr(said, "__cause__", None) or said
    line = str(said).partition("\n")[0]
    if getattr(said, "sqlstate", "") == _FORBIDDEN_STATE:
        return f"{line}; make the user of DATABASE_URL the owner of the database (docs/operations/install.md)"
    return line


async def _migrate_and_close(url: str, migrations: Path) -> None:
    database = Database(url)
    try:
        await migrate(database, migrations)
    finally:
        await database.close()
    sys.stdout.write(f"{database.name} has schema {revisions(migrations)[-1]}\n")
