"""The migrate command as an operator runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from services.billing.store.store import MIGRATIONS
from services.common.database.schema import revisions
from tests.support.ports import free_address
from tests.support.postgres import create_database, execute


def migrate(url: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "services.billing.migrate"]
    environment = os.environ | {"TIERMESH_BILLING_DATABASE_URL": url}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(params=["sqlite", "postgres"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'new.db'}"
    return create_database(request.getfixturevalue("postgres_url"))


def test_an_empty_database_becomes_a_ledger(empty_url: str) -> None:
    for _ in range(2):
        result = migrate(empty_url)
        assert result.returncode == 0, result.stderr
        assert result.stdout.endswith(f"has schema {revisions(MIGRATIONS)[-1]}\n")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("mysql://host/name", "DATABASE_URL"),
        (f"postgresql://postgres@{free_address()}/nothing", "Connect call failed"),
        ("sqlite:////no/such/folder/billing.db", "unable to open database file"),
    ],
    # Named, because the port is random: each process of a parallel run must see the same names.
    ids=["unknown kind", "unreachable server", "missing folder"],
)
def test_what_cannot_be_migrated_is_said_in_words(url: str, reason: str) -> None:
    result = migrate(url)
    assert result.returncode == 1
    assert "cannot migrate" in result.stderr
    assert reason in result.stderr
    assert "Traceback" not in result.stderr


def test_what_postgresql_refuses_is_said_in_one_line(postgres_url: str) -> None:
    database = create_database(postgres_url)
    # As in a database that another user owns, on PostgreSQL 15 and newer.
    execute(database, "CREATE ROLE stranger LOGIN")
    execute(database, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    try:
        result = migrate(sa.make_url(database).set(username="stranger").render_as_string(hide_password=False))
    finally:
        execute(database, "DROP ROLE stranger")
    assert result.returncode == 1
    assert result.stderr == (
        "cannot migrate: permission denied for schema public; make the user of DATABASE_URL the owner of the database "
        "(docs/operations/install.md)\n"
    )
