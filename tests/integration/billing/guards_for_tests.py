"""Takes the database's own guards away, as somebody with too many rights can."""

from __future__ import annotations

from services.common.database.base import Database
from tests.integration.billing.operations_for_tests import execute, rows

_GUARDED = "entries", "grants", "holds", "deposits", "deposit_addresses", "sweeps", "payouts"


async def drop_guards(database: Database) -> None:
    """Lets rows be changed that never change, and balances be negative."""
    if database.dialect == "sqlite":
        for (name,) in await rows(database, "SELECT name FROM sqlite_master WHERE type = 'trigger'"):
            await execute(database, f"DROP TRIGGER {name}")
        # Only this connection stops checking.
        await database.transaction(lambda connection: connection.exec_driver_sql("PRAGMA ignore_check_constraints = 1"))
    else:
        for table in _GUARDED:
            await execute(database, f"ALTER TABLE {table} DISABLE TRIGGER USER")
        await execute(database, "ALTER TABLE balances DROP CONSTRAINT balances_available_check")
