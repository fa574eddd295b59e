from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from services.common.database.schema import SchemaVersionError, check_schema, current_revision, revisions, version_table


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    """A service "shop" with two revisions."""
    versions = tmp_path / "shop" / "migrations" / "versions"
    versions.mkdir(parents=True)
    for name in "0002_more.py", "0001_first.py", "__init__.py", "notes.txt":
        (versions / name).touch()
    return versions.parent


@pytest.fixture
def connection() -> Iterator[sa.Connection]:
    with sa.create_engine("sqlite://").connect() as connection:
        yield connection


def stamp(connection: sa.Connection, revision: str) -> None:
    connection.exec_driver_sql("CREATE TABLE shop_schema_version (version_num TEXT)")
    connection.exec_driver_sql("INSERT INTO shop_schema_version VALUES (?)", (revision,))


def test_revisions_are_the_numbers_of_the_files(migrations: Path) -> None:
    assert revisions(migrations) == ["0001", "0002"]
    assert version_table(migrations) == "shop_schema_version"


def test_the_newest_schema_is_accepted(connection: sa.Connection, migrations: Path) -> None:
    stamp(connection, "0002")
    check_schema(connection, migrations)
    assert current_revision(connection, migrations) == "0002"


def test_an_empty_database_is_refused(connection: sa.Connection, migrations: Path) -> None:
    assert current_revision(connection, migrations) is None
    with pytest.raises(
        SchemaVersionError, match=r"has no schema yet, this version needs 0002: run `python -m services.shop.m"
    ):
        check_schema(connection, migrations)


def test_an_older_schema_is_refused(connection: sa.Connection, migrations: Path) -> None:
    stamp(connection, "0001")
    with pytest.raises(
        SchemaVersionError, match=r"has schema 0001, this version needs 0002: run .*TIERMESH_SHOP_DATABASE_URL"
    ):
        check_schema(connection, migrations)


def test_a_newer_schema_is_refused(connection: sa.Connection, migrations: Path) -> None:
    stamp(connection, "0003")
    with pytest.raises(
        SchemaVersionError, match=r"newer than this version knows \(0002\): start the newer version again"
    ):
        check_schema(connection, migrations)
