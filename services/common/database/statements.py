"""Runs a statement on the driver itself, inside a transaction of `Database.transaction`.

For hot paths only: it saves the CPU that SQLAlchemy spends on each statement, about 40 µs on SQLite and 100 µs on
PostgreSQL. Statements are written for one database, with its own placeholders, and drivers keep them prepared.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.util import await_only

Row = Sequence[Any]


def fetch_sqlite(connection: sa.Connection, statement: str, *parameters: object) -> list[Row]:
    """Returns the rows of a statement whose placeholders are `?`."""
    rows: list[Row] = _sqlite(connection).execute(statement, parameters).fetchall()
    return rows


def execute_many_sqlite(connection: sa.Connection, statement: str, rows: Sequence[Row]) -> None:
    """Runs a statement once for each row of parameters."""
    _sqlite(connection).executemany(statement, rows)


def fetch_postgresql(connection: sa.Connection, statement: str, *parameters: object) -> list[Row]:
    """Returns the rows of a statement whose placeholders are `$1`, `$2` and so on."""
    driver: Any = connection.connection.driver_connection
    rows: list[Row] = await_only(driver.fetch(statement, *parameters))
    return rows


def copy_postgresql(connection: sa.Connection, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
    """Inserts many rows by COPY."""
    driver: Any = connection.connection.driver_connection
    await_only(driver.copy_records_to_table(table, records=rows, columns=columns))


def _sqlite(connection: sa.Connection) -> sqlite3.Connection:
    return cast("sqlite3.Connection", connection.connection.driver_connection)
