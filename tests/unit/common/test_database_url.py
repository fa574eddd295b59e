from __future__ import annotations

import pytest

from services.common.database.base import Database, parse_url
from services.common.settings import SettingsError


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("sqlite:///billing.db", "sqlite+pysqlite:///billing.db"),
        ("sqlite:////var/lib/billing.db", "sqlite+pysqlite:////var/lib/billing.db"),
        ("postgresql://user:pass@host:5433/name", "postgresql+asyncpg://user:pass@host:5433/name"),
        ("postgres://user@host/name", "postgresql+asyncpg://user@host/name"),
        ("postgresql+psycopg2://user@host/name", "postgresql+asyncpg://user@host/name"),
        ("postgresql://host/name?sslmode=require", "postgresql+asyncpg://host/name?ssl=require"),
    ],
)
def test_the_driver_is_chosen(given: str, used: str) -> None:
    assert parse_url(given).render_as_string(hide_password=False) == used


@pytest.mark.parametrize("url", ["", "billing.db", "mysql://host/name", "sqlite://", "sqlite:///:memory:"])
def test_what_cannot_be_used_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="DATABASE_URL"):
        parse_url(url)


def test_the_name_for_logs_holds_no_password() -> None:
    assert "secret" not in Database("postgresql://user:secret@host/name").name
