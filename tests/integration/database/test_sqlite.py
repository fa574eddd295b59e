"""What is particular to SQLite: durable commits, and waiting for whoever else writes."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa

from services.common.database import sqlite as database_sqlite
from services.common.database.base import Database
from services.common.errors import Code, MeshError


async def test_commits_are_durable_and_relations_enforced(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'test.db'}")

    def pragmas(connection: sa.Connection) -> list[object]:
        names = "journal_mode", "synchronous", "foreign_keys"
        return [connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in names]

    # FULL is 2 and NORMAL is 1. A commit that does not wait for the disk takes nothing from the next one.
    for synced in (True, False, False, True, False):
        assert await database.transaction(pragmas, synced=synced) == ["wal", 2 if synced else 1, 1]
    await database.close()


async def test_another_writer_is_waited_for_but_not_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_sqlite, "BUSY_SECONDS", 0.05)
    monkeypatch.setattr(database_sqlite, "_PRAGMAS", ("PRAGMA journal_mode=WAL", "PRAGMA busy_timeout=50"))
    path = tmp_path / "test.db"
    database = Database(f"sqlite:///{path}")
    create = sa.text("CREATE TABLE numbers (n INTEGER)")
    await database.transaction(lambda connection: connection.execute(create).close())
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    insert = sa.text("INSERT INTO numbers VALUES (1)")
    with pytest.raises(MeshError) as failed:
        await database.transaction(lambda connection: connection.execute(insert).close())
    assert (failed.value.code, failed.value.retry_after) == (Code.UNAVAILABLE, 1.0)
    other.execute("ROLLBACK")
    other.close()
    await database.transaction(lambda connection: connection.execute(insert).close())
    await database.close()


async def test_a_file_that_cannot_be_opened_is_unavailable(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'missing' / 'test.db'}")
    with pytest.raises(MeshError) as failed:
        await database.transaction(lambda _: None)
    assert failed.value.code is Code.UNAVAILABLE
    await database.close()
