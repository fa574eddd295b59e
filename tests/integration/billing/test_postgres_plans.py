"""On PostgreSQL, what runs for every batch finds its rows by an index, however few rows there were when it was planned.

Plans are kept. One that walks through a table or an index costs nothing while a ledger is new, and everything later.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest
from sqlalchemy.dialects.postgresql.asyncpg import dialect as asyncpg_dialect

import services.billing.store as store_package
from services.billing.store.audit import movements, moves
from services.billing.store.store import LedgerStore
from services.common.database.base import Database
from services.common.database.postgresql import _HOT_SETTINGS
from tests.integration.billing.operations_for_tests import commit, execute, grant, reserve, settle

# Have a row for each token that a watcher follows, and for each hold that has not ended.
_FEW_ROWS_FOR_EVER = {"deposit_cursors", "audit_moves"}


def _statements() -> dict[str, str]:
    """Returns every statement of the store that takes arrays, by its place in the code."""
    found: dict[str, str] = {}
    for module in pkgutil.iter_modules(store_package.__path__):
        for name, value in vars(importlib.import_module(f"{store_package.__name__}.{module.name}")).items():
            for key, text in (value if isinstance(value, dict) else {"": value}).items():
                if isinstance(text, str) and re.search(r"\$1::\w+\[\]", text):
                    found[f"{module.name}.{name} {key}".strip()] = text
    return found


def _of_slices() -> dict[str, str]:
    """Returns the audit's statements that find for each entry of a slice what it belongs to."""
    dialect = asyncpg_dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy has none there.
    found = {"movements": movements._SUSPICIOUS_IN, "moves": moves._UNFINISHED_OF_ALL}
    found["moves of an account"] = moves._UNFINISHED_OF_ACCOUNT
    return {f"audit: {name}": str(texts["postgresql"].compile(dialect=dialect)) for name, texts in found.items()}


STATEMENTS = _statements() | _of_slices()


def test_the_statements_are_found() -> None:
    assert {
        "postgresql._UPDATE",
        "spending._READ_POSTGRESQL",
        "idempotency._POSTGRESQL",
        "deposits._POSTGRESQL known",
    } <= (STATEMENTS.keys())


@pytest.mark.parametrize("rows", ["no rows", "a few rows"])
async def test_a_plan_of_an_early_day_is_right_for_later_ones(postgres_database_url: str, rows: str) -> None:
    database = Database(postgres_database_url)
    if rows != "no rows":
        store = LedgerStore(database)
        await commit(store, grant(100), reserve("r"))
        await commit(store, settle("r"))
    # The planner knows now how few they are.
    await execute(database, "ANALYZE")
    await database.close()
    connection: Any = await asyncpg.connect(postgres_database_url, server_settings=_HOT_SETTINGS)
    try:
        for name, statement in STATEMENTS.items():
            for scan in _scans(await _plan(connection, statement)):
                assert "Index Cond" in scan, f"{name} reads all of {scan['Relation Name']}: {scan}"
    finally:
        await connection.close()


async def _plan(connection: Any, statement: str) -> dict[str, Any]:
    """Returns the plan that is kept for all parameters."""
    nothing = ", ".join(["NULL"] * len(set(re.findall(r"\$\d+", statement))))
    await connection.execute(f"PREPARE planned AS {statement}")
    (explained,) = await connection.fetchrow(f"EXPLAIN (FORMAT JSON) EXECUTE planned ({nothing})")
    await connection.execute("DEALLOCATE planned")
    plan: dict[str, Any] = json.loads(explained)[0]["Plan"]
    return plan


def _scans(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields the parts of a plan that read a table, but of a bitmap scan that which reads its index."""
    kind, table = node["Node Type"], node.get("Relation Name", "")
    reads_table = (table and kind not in {"ModifyTable", "Bitmap Heap Scan"}) or kind == "Bitmap Index Scan"
    if reads_table and table not in _FEW_ROWS_FOR_EVER:
        yield {"Relation Name": node.get("Index Name"), **node}
    for part in node.get("Plans", ()):
        yield from _scans(part)
