"""Which schema a database has, and which one the code needs. Reads what Alembic writes, without importing Alembic.

Revisions are numbered: the file `0002_add_something.py` in `versions/` holds the revision "0002".
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from services.common.settings import SettingsError


class SchemaVersionError(SettingsError):
    """The database that DATABASE_URL names has not the schema that the code needs; the message says what to do."""


def version_table(migrations: Path) -> str:
    """The table that holds the revision. Each service has its own, so that several may share one database."""
    return f"{migrations.parent.name}_schema_version"


def revisions(migrations: Path) -> list[str]:
    """The revisions that the code knows, oldest first."""
    return sorted(path.name.split("_")[0] for path in (migrations / "versions").glob("[0-9]*_*.py"))


def current_revision(connection: sa.Connection, migrations: Path) -> str | None:
    """The revision of the database; None if it was never migrated."""
    table = version_table(migrations)
    if not sa.inspect(connection).has_table(table):
        return None
    return connection.execute(sa.select(sa.column("version_num")).select_from(sa.table(table))).scalar()


def check_schema(connection: sa.Connection, migrations: Path) -> None:
    """Raises SchemaError unless the database has the newest schema that the code knows."""
    known = revisions(migrations)
    current = current_revision(connection, migrations)
    if current == known[-1]:
        return
    service = migrations.parent.name
    name = connection.engine.url.render_as_string(hide_password=True)
    if current is None or current in known:
        have = "no schema yet" if current is None else f"schema {current}"
        raise SchemaVersionError(
            f"the database {name} has {have}, this version needs {known[-1]}: "
            f"run `python -m services.{service}.migrate` with the same TIERMESH_{service.upper()}_DATABASE_URL"
        )
    raise SchemaVersionError(
        f"the database {name} has schema {current}, which is newer than this version knows ({known[-1]}): "
        "start the newer version again, or restore a backup made before its migration"
    )
