"""The ledger in its database: a batch of operations is one transaction of a fixed number of statements."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import sqlalchemy as sa

from services.billing import store_postgresql, store_sqlite
from services.billing.ledger import Balance, Ledger
from services.billing.metrics import CREDITS, VIOLATIONS
from services.billing.operations import Answer, Expire, Grant, Operation, Reserve, Settle
from services.billing.store_audit import Report, audit
from services.common.database import Database

MIGRATIONS = Path(__file__).with_name("migrations")

_OVERDUE = sa.text(
    "SELECT request_id FROM holds WHERE state = 'open' AND reserved_ms < :before ORDER BY reserved_ms LIMIT :limit"
)
_BALANCE = sa.text("SELECT available, held FROM balances WHERE account_id = :account_id")
_OPEN_HOLDS = sa.text("SELECT count(*) FROM holds WHERE state = 'open'")


class LedgerStore:
    """The ledger's rows. Every method raises MeshError UNAVAILABLE while the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = store_sqlite if database.dialect == "sqlite" else store_postgresql

    async def commit(self, operations: Sequence[Operation], now_ms: int) -> list[Answer]:
        """Does all operations in one transaction and returns what became of each, once that is durable."""
        answers, moved = await self._database.transaction(partial(self._apply, operations, now_ms))
        for kind, moved_credits in moved.items():
            CREDITS.labels(kind).inc(moved_credits)
        return answers

    async def balance(self, account_id: str) -> Balance:
        """Reads one account's balance; zero if it has none."""
        row = await self._database.read(
            lambda connection: connection.execute(_BALANCE, {"account_id": account_id}).first()
        )
        return Balance(*row) if row is not None else Balance()

    async def overdue(self, before_ms: int, limit: int) -> list[str]:
        """The ids of open holds made before a time, oldest first."""
        parameters = {"before": before_ms, "limit": limit}
        return await self._database.read(lambda connection: list(connection.execute(_OVERDUE, parameters).scalars()))

    async def open_holds(self) -> int:
        """How many holds are open."""
        return int(await self._database.read(lambda connection: connection.execute(_OPEN_HOLDS).scalar_one()))

    async def audit(self) -> Report:
        """Checks every invariant over all rows."""
        report = await self._database.read(audit)
        VIOLATIONS.set(len(report.violations))
        return report

    def _apply(
        self, operations: Sequence[Operation], now_ms: int, connection: sa.Connection
    ) -> tuple[list[Answer], dict[str, int]]:
        requests: set[str] = set()
        accounts: set[str] = set()
        grants: set[str] = set()
        for operation in operations:
            match operation:
                case Reserve():
                    requests.add(operation.request_id)
                    accounts.add(operation.account_id)
                case Settle() | Expire():
                    requests.add(operation.request_id)
                case Grant():
                    grants.add(operation.grant_id)
                    accounts.add(operation.account_id)
        holds, balances = self._sql.read_holds(connection, requests, accounts)
        known = self._sql.read_grants(connection, grants) if grants else {}
        ledger = Ledger(holds, balances, known, now_ms=now_ms)
        answers = [ledger.apply(operation) for operation in operations]
        self._sql.write(connection, ledger, now_ms)
        return answers, ledger.moved
