"""Short forms of the ledger's operations."""

from __future__ import annotations

import sqlalchemy as sa

from services.billing.ledger.holds import Outcome
from services.billing.ledger.operations import Effect, Expire, Grant, Operation, Reserve, Result, Settle
from services.billing.ledger.prices import Quote
from services.billing.store.store import LedgerStore
from services.common.database.base import Database
from services.common.errors import Code, MeshError

NOW_MS = 1_800_000_000_000
PRICE = 10


def reserve(request_id: str, account_id: str = "acct", *, model: str = "pro", price: int = PRICE) -> Reserve:
    return Reserve(request_id, account_id, "key", Quote(model, 1, price))


def settle(request_id: str, outcome: Outcome = Outcome.COMPLETED) -> Settle:
    return Settle(request_id, outcome, 7, 9, "runner")


def expire(request_id: str) -> Expire:
    return Expire(request_id)


def grant(credits: int, account_id: str = "acct", grant_id: str = "grant") -> Grant:  # noqa: A002 - the ledger's word
    return Grant(grant_id, account_id, credits, "a test")


async def commit(store: LedgerStore, *operations: Operation) -> list[Result]:
    """Commits one batch."""
    return await store.commit(list(operations), NOW_MS)


async def one(store: LedgerStore, operation: Operation) -> Effect:
    """Commits one operation that must be accepted."""
    (answer,) = await commit(store, operation)
    assert isinstance(answer, Effect), answer
    return answer


def code(answer: Result) -> Code:
    """The code of a refusal."""
    assert isinstance(answer, MeshError), answer
    return answer.code


async def execute(database: Database, statement: str) -> None:
    """Runs SQL behind the ledger's back."""
    await database.transaction(lambda connection: connection.execute(sa.text(statement)).close())


async def rows(database: Database, query: str) -> list[tuple[object, ...]]:
    """Reads rows."""
    return await database.read(lambda connection: [tuple(row) for row in connection.execute(sa.text(query))])


async def assert_sound(store: LedgerStore) -> None:
    """Fails with the sentences of the audits if they find anything."""
    assert (await store.audit_new()).violations == []
    assert (await store.audit()).violations == []
